//! The rules of plans, in words.

use super::*;
use crate::testing::Recorder;

/// A plan in words: `+a` provides, `-a` requires, `|` begins an alternative.
fn plan(words: &str) -> String {
    let mut toml = String::new();
    for (at, alternative) in words.split('|').enumerate() {
        let prefix = if at == 0 {
            ""
        } else {
            toml.push_str("[[or]]\n");
            "or."
        };
        for word in alternative.split_whitespace() {
            let (kind, name) = word.split_at(1);
            let table = if kind == "+" { "provides" } else { "requires" };
            toml.extend(["[[", prefix, table, "]]\nname = '", name, "'\n"]);
        }
    }
    toml
}

fn resolve(modules: &[&str]) -> (Option<Vec<usize>>, Vec<String>) {
    let offer = |(at, module): (usize, &&str)| {
        let (words, optional) = match module.strip_prefix("? ") {
            Some(words) => (words, true),
            None => (*module, false),
        };
        let text = plan(words);
        Offer {
            id: format!("m{at}").parse().unwrap(),
            version: "1".parse().unwrap(),
            extension: false,
            optional,
            plan: BuildPlan::parse("plan.toml".as_ref(), text.as_bytes()).unwrap(),
        }
    };
    let offers: Vec<_> = modules.iter().enumerate().map(offer).collect();
    let mut journal = Journal::default();
    let found = super::resolve(&offers, &mut journal)
        .ok()
        .map(|resolution| resolution.surviving);
    let recorder = Recorder::default();
    journal.tell(&recorder);
    (found, recorder.lines())
}

#[test]
fn plans_resolve_2_8() {
    for (rule, modules, expected) in [
        ("PLN-02", &["+a", "-a"][..], Some(vec![0, 1])),
        ("PLN-02", &["-a", "+a"], None),
        ("PLN-02", &["+a -a"], Some(vec![0])),
        ("PLN-02", &["+a"], None),
        ("PLN-03", &["? +a", "-b +b"], Some(vec![1])),
        ("PLN-03", &["? +a", "? -a -b", "+c -c"], Some(vec![2])),
        ("PLN-03", &["+a", "? -a -b"], None),
        ("PLN-05", &["+a", "+a", "-a"], Some(vec![0, 1, 2])),
        ("PLN-05", &["+a", "-a", "+a"], None),
        ("PLN-05", &["+a", "-a", "? +a"], Some(vec![0, 1])),
        ("PLN-01", &["+a | +b", "-b"], Some(vec![0, 1])),
        ("PLN-01", &["+a | +b", "-a | -b"], Some(vec![0, 1])),
        // PLN-04: an earlier alternative of an optional module must hold as written
        ("PLN-04", &["? +a | +b", "-b"], Some(vec![0, 1])),
        ("PLN-04", &["? +a | +b", "+c -c"], Some(vec![1])),
        ("PLN-09", &["? +a"], None),
        ("PLN-09", &[""], Some(vec![0])),
    ] {
        assert_eq!(resolve(modules).0, expected, "{rule} {modules:?}");
    }
}

#[test]
fn tries_are_told_1_5() {
    let (_, lines) = resolve(&["? +x", "+a | +b", "-b"]);
    assert_eq!(
        lines,
        [
            "debug: Resolving plan... (try #1)",
            "debug: fail: m1@1 provides unused a",
            "debug: Resolving plan... (try #2)",
            "debug: skip: m0@1 provides unused x",
        ]
    );
}

#[test]
fn alternatives_do_not_multiply_when_they_cannot_hold() {
    // 2^40 combinations, if all were tried.
    let mut modules = vec!["+a | +b"; 40];
    modules.push("-b");
    assert_eq!(resolve(&modules).0.map(|found| found.len()), Some(41));
    let mut hopeless = vec!["-z | -y"; 40];
    hopeless.push("-x");
    assert_eq!(resolve(&hopeless).0, None);
}

#[test]
fn pruning_finds_what_trying_all_finds() {
    // Every combination of four modules out of these, against a plain search.
    let words = [
        "+a",
        "-a",
        "? +a | +b",
        "-b | -a",
        "? -b",
        "+b -a | +c",
        "? -c | ",
    ];
    for one in words {
        for two in words {
            for three in words {
                for four in words {
                    let modules = [one, two, three, four];
                    assert_eq!(resolve(&modules).0, brute_force(&modules), "{modules:?}");
                }
            }
        }
    }
}

fn brute_force(modules: &[&str]) -> Option<Vec<usize>> {
    let parsed: Vec<(bool, Vec<&str>)> = modules
        .iter()
        .map(|module| match module.strip_prefix("? ") {
            Some(words) => (true, words.split('|').collect()),
            None => (false, module.split('|').collect()),
        })
        .collect();
    let mut picks = vec![0; modules.len()];
    loop {
        let mut chosen: Vec<(usize, bool, &str)> = (0..modules.len())
            .map(|at| {
                (
                    at,
                    parsed[at].0 && picks[at] + 1 == parsed[at].1.len(),
                    parsed[at].1[picks[at]],
                )
            })
            .collect();
        let has = |words: &str, wanted: String| words.split_whitespace().any(|word| word == wanted);
        let bad = |chosen: &[(usize, bool, &str)], at: usize| {
            chosen[at].2.split_whitespace().any(|word| {
                let (kind, name) = word.split_at(1);
                match kind {
                    "-" => !chosen[..=at].iter().any(|other| has(other.2, format!("+{name}"))),
                    _ => !chosen[at..].iter().any(|other| has(other.2, format!("-{name}"))),
                }
            })
        };
        let holds = loop {
            match (0..chosen.len()).find(|at| bad(&chosen, *at)) {
                None => break !chosen.is_empty(),
                Some(at) if chosen[at].1 => drop(chosen.remove(at)),
                Some(_) => break false,
            }
        };
        if holds {
            return Some(chosen.into_iter().map(|choice| choice.0).collect());
        }
        let mut at = modules.len();
        loop {
            at = at.checked_sub(1)?;
            picks[at] += 1;
            if picks[at] < parsed[at].1.len() {
                break;
            }
            picks[at] = 0;
        }
    }
}
