//! The rules of plans, in words.

use lifecycle_spec::{Requirement, Value};

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

/// Modules in words: `? ` begins an optional buildpack, `x ` an extension.
fn offers(modules: &[&str]) -> Vec<Offer<BuildPlan>> {
    let offer = |(at, module): (usize, &&str)| {
        let (extension, words) = match module.strip_prefix("x ") {
            Some(words) => (true, words),
            None => (false, *module),
        };
        let (optional, words) = match words.strip_prefix("? ") {
            Some(words) => (true, words),
            None => (extension, words),
        };
        let text = plan(words);
        Offer {
            id: format!("m{at}").parse().unwrap(),
            version: "1".parse().unwrap(),
            extension,
            optional,
            plan: BuildPlan::parse("plan.toml".as_ref(), text.as_bytes()).unwrap(),
        }
    };
    modules.iter().enumerate().map(offer).collect()
}

fn resolve(modules: &[&str]) -> (Option<Vec<usize>>, Vec<String>) {
    let offers = offers(modules);
    let mut journal = Journal::default();
    let found = super::resolve(&offers, &mut journal)
        .ok()
        .map(|resolution| resolution.surviving);
    let recorder = Recorder::default();
    journal.tell(&recorder);
    (found, recorder.lines())
}

#[test]
fn plans_resolve_pln_02_pln_03_pln_04_pln_05_pln_06_pln_09() {
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
        ("PLN-04", &["? -z | ", "+c -c"], Some(vec![0, 1])),
        ("PLN-04", &["? +a | -z", "+c -c"], Some(vec![1])),
        // PLN-06: what an extension provides is for buildpacks behind it, and it is left out like an optional one
        ("PLN-06", &["x +a", "-a"], Some(vec![0, 1])),
        ("PLN-06", &["x +a", "+b -b"], Some(vec![1])),
        ("PLN-06", &["-a", "x +a"], None),
        ("PLN-06", &["x +a", "? -a -z", "+b -b"], Some(vec![2])),
        ("PLN-09", &["? +a"], None),
        ("PLN-09", &["? +a", "? -b"], None),
        ("PLN-09", &[""], Some(vec![0])),
    ] {
        assert_eq!(resolve(modules).0, expected, "{rule} {modules:?}");
    }
}

/// A name of the plan, who provides it, and how often it is required.
type Entry<'a> = (&'a str, &'a [&'a str], usize);

#[test]
fn the_plan_has_one_entry_for_each_name_pln_07() {
    let cases: [(&[&str], &[Entry<'_>]); 4] = [
        (&["+b +a", "-a -b"], &[("b", &["m0"], 1), ("a", &["m0"], 1)]),
        (
            &["+a", "+b -b", "+a", "-a", "-a -b"],
            &[("a", &["m0", "m2"], 2), ("b", &["m1"], 2)],
        ),
        // Who is left out is in no entry, neither with what it provides nor with what it requires.
        (&["+a", "? +a -a -z", "-a"], &[("a", &["m0"], 1)]),
        (&["x +a", "+a -a", "x +c"], &[("a", &["m0", "m1"], 1)]),
    ];
    for (modules, expected) in cases {
        let offers = offers(modules);
        let Ok(resolution) = super::resolve(&offers, &mut Journal::default()) else {
            panic!("{modules:?} do not fit together");
        };
        let of = |entry: &PlanEntry| {
            let providers: Vec<String> = entry
                .providers
                .iter()
                .map(|provider| {
                    assert_eq!(
                        provider.extension,
                        offers.iter().any(|o| o.id == provider.id && o.extension)
                    );
                    provider.id.to_string()
                })
                .collect();
            let name = entry.requires[0].name.clone();
            assert!(entry.requires.iter().all(|require| require.name == name));
            (name, providers, entry.requires.len())
        };
        let entries: Vec<_> = resolution.entries.iter().map(of).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, providers, count)| {
                let providers = providers.iter().map(|id| (*id).to_owned()).collect();
                ((*name).to_owned(), providers, *count)
            })
            .collect();
        assert_eq!(entries, expected, "{modules:?}");
    }
}

#[test]
fn requirements_are_collected_in_the_order_of_the_group_pln_07() {
    let mut offers = offers(&["+a -a", "-a", "-a"]);
    for (offer, number) in offers.iter_mut().zip(1..) {
        let said = ("number".to_owned(), Value::Integer(number));
        offer.plan.alternatives[0].requires[0].metadata = Some([said].into());
    }
    let Ok(resolution) = super::resolve(&offers, &mut Journal::default()) else {
        panic!("they fit together");
    };
    let [entry] = &resolution.entries[..] else {
        panic!("one name is one entry");
    };
    let said = |require: &Requirement| require.metadata.clone().unwrap().remove("number");
    let numbers: Vec<Option<Value>> = entry.requires.iter().map(said).collect();
    assert_eq!(numbers, [1, 2, 3].map(|number| Some(Value::Integer(number))));
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
