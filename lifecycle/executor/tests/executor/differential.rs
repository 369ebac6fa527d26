//! The same Dockerfiles built by buildah and, where it is on the PATH, by BuildKit: the file system as a whole,
//! configuration, history and layers. Where we differ on purpose is listed in `docs/dockerfile.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, Platform, Reference, Source as _};

use crate::support::{Bench, Built, Found};

/// Dockerfiles that need no base image and no network. Each is a stage on its own on `FROM scratch` with busybox.
const CASES: [(&str, &str); 33] = [
    ("files and directories h1 h2", "COPY a.txt dir /x/\nCOPY dir/ /y"),
    (
        "names and wildcards h3 h9",
        "COPY *.txt /x/\nCOPY a.txt b.txt /one",
    ),
    ("links h5", "COPY link /x\nCOPY . /all/"),
    (
        "owners and modes h12 h16",
        "COPY --chown=5:6 --chmod=640 a.txt /x/y/a.txt\nADD --chown=7 dir /z/",
    ),
    ("archives h25", "ADD files.tar /t/\nCOPY files.tar /u/"),
    (
        "working directories g10",
        "WORKDIR /a/b\nCOPY a.txt .\nWORKDIR ../c\nCOPY b.txt ./",
    ),
    (
        "commands i1 m2",
        "COPY dir /d\nRUN rm /d/c.txt && echo new > /d/n && mkdir -p /e/f && chmod 2750 /e && ln -s n /d/l && ln /d/n /d/h",
    ),
    (
        "deleted and made again m2",
        "COPY dir /d\nRUN rm -r /d && mkdir /d && echo 1 > /d/one",
    ),
    (
        "owners changed m3",
        "COPY dir /d\nRUN chown -R 3:4 /d && touch /d/t",
    ),
    (
        "configuration g1 g14",
        "ENV A=1 B=\"two words\"\nLABEL l=v m=\"n o\"\nEXPOSE 80 53/udp\nVOLUME /v\nUSER 5:6\nSTOPSIGNAL SIGUSR1\nWORKDIR /w\nENTRYPOINT [\"/bin/busybox\", \"echo\"]\nCMD [\"a\"]",
    ),
    (
        "arguments e1 e5 l1",
        "ARG A=1\nARG B\nENV C=$A\nRUN echo $A $C > /x\nCMD echo $C",
    ),
    (
        "heredocs c5 c7",
        "COPY <<one <<two /h/\n1\none\n2\ntwo\nRUN <<run\necho 1 > /r\nrun",
    ),
    (
        "lexing a3 a4 a6 a7",
        "ENV A=1 \\\n  # a comment\n\n  B=2\nLABEL long=\"a \\\n   b\" x='y z'\nRUN echo a \\\n  # b\n  c > /x\nCMD [\"a\"] x",
    ),
    (
        "words a16 a18 a19",
        "ENV LEGACY a  b \"c\"\nENV Q=a\\ b R='$Q' S=\"$Q\"\nCMD ['single']\nENTRYPOINT [\"a\", \"b\"\nLABEL a.b c  d",
    ),
    (
        "expansion d1 d4 d6",
        "ENV A=abcabc E=\nENV B=${A#a} C=${A##*b} D=${A%c} F=${A%%b*} G=${A/b/x} H=${A//b/x} I=${E:-w} J=${E-w} K=${A:+y} L=${N+z} M=\\$A N=\"\\x\" O='$A'",
    ),
    (
        "scopes e3 e4 e7",
        "ARG A=dflt B=$A\nENV A=env\nARG A=again\nRUN echo $A $B > /x\nENV A=last\nRUN echo $A > /y\nARG HTTP_PROXY",
    ),
    (
        "exposed and volumes g6 g7",
        "ENV P=\"81 82/udp\"\nEXPOSE 80-83 90/TCP $P\nVOLUME [\"/a\", \"/b\"]\nVOLUME /c /d",
    ),
    (
        "checks and shells g3 g11",
        "SHELL [\"/bin/sh\", \"-ec\"]\nHEALTHCHECK --interval=5s --timeout=1m30s --retries=2 CMD echo ok\nRUN echo 1 > /x\nCMD echo hello",
    ),
    (
        "entrypoints clear commands g2",
        "CMD [\"a\"]\nENTRYPOINT b c\nMAINTAINER Ann <ann@host.test>",
    ),
    (
        "flags of copies h16 h21 h23",
        "COPY --chmod=u=rwX,go=rX a.txt dir /m/\nCOPY --exclude=sub --exclude=in dir /e/\nCOPY --parents dir/sub/d.txt dir/./sub/deep /p/",
    ),
    (
        "copies that stand alone h19",
        "COPY --link a.txt /l/m/\nCOPY --link --chown=4 dir /k/",
    ),
    (
        "mounts i5 i8 i10 i11",
        "RUN --mount=type=bind,source=dir,target=/made/for/it cat /made/for/it/c.txt > /seen\nRUN --mount=type=tmpfs,target=/t touch /t/x\nRUN --mount=type=cache,target=/c touch /c/x && mkdir /kept\nRUN --mount=type=secret,id=none true\nRUN --network=none true",
    ),
    (
        "directories removed and links m1 m2 m3",
        "COPY dir /d\nRUN mv /d/sub /moved && rm /d/in && ln /d/c.txt /hard\nRUN rm -rf /d && mkdir -p /d/sub && touch -d @1600000000 /d/sub/new",
    ),
    (
        "modes and what is made h17",
        "COPY --chmod=a=rx dir/ /x/y/z\nCOPY --chmod=700 dir /o\nRUN mkdir -m 711 /m\nCOPY --chmod=a=rx dir /m\nCOPY --chmod=g=u a.txt /n/",
    ),
    (
        "owners of working directories g10 h14",
        "COPY <<passwd <<group /etc/\nroot:x:0:0::/:/bin/sh\nbin:x:2:3:bin:/bin:/bin/sh\npasswd\nroot:x:0:\nstaff:x:50:\ngroup\nUSER 2\nWORKDIR /number\nUSER bin\nWORKDIR /name\nUSER bin:staff\nWORKDIR /both\nUSER :staff\nWORKDIR /group\nUSER 2:\nWORKDIR /user\nUSER root\nWORKDIR rel/../up",
    ),
    (
        "empty commands g1 g2",
        "ENTRYPOINT [\"a\"]\nCMD [\"b\"]\nCMD []\nENTRYPOINT []",
    ),
    (
        "links on the way h10 h19 g10",
        "RUN mkdir /real && ln -s /real /ln && ln -s /missing /dangling\nCOPY a.txt /ln/\nCOPY b.txt /ln\nCOPY --link b.txt /ln/\nWORKDIR /dangling/sub\nCOPY dir .\nRUN pwd > /p",
    ),
    (
        "health checks and signals g11 g12",
        "HEALTHCHECK --start-interval=3s --start-period=0s --retries=0 CMD [\"a\", \"b\"]\nHEALTHCHECK NONE\nSTOPSIGNAL 99\nSTOPSIGNAL sigterm",
    ),
    (
        "triggers with heredocs g14 c5",
        "SHELL [\"/bin/sh\", \"-xc\"]\nONBUILD COPY <<EOF /h\nx $PATH\nEOF\nONBUILD RUN <<EOF\nx\nEOF\nONBUILD RUN echo '<<EOF' $((1<<2))\nCOPY <<-EOF /h\n\t\thello $PATH\n\tEOF\nRUN cat <<'EOF' > /o\n$PATH\nEOF",
    ),
    (
        "nothing a20 i7 h4",
        "RUN\nCOPY *.none /n/\nCOPY --parents *.none /o\nRUN true",
    ),
    (
        "archives in the way of others h25 h11 h18",
        "RUN mkdir -p /t/a.txt/q /other && touch /other/kept && ln -s /other /t/dir\nADD files.tar /t\nRUN touch /t/dir/new && rm -r /t/dir && touch /t/dir\nADD --chmod=600 files.tar /t\nADD --chmod=700 files.tar /u/v\nRUN rm /t/dir/c.txt && touch /t/n /u/v/n",
    ),
    (
        "modes beside permissions h16 h17",
        "COPY --chmod=6755 a.txt /s/t/\nCOPY --chmod=7777 dir /s/u/v\nFROM scratch\nCOPY --from=0 --chmod=u=g,o=u /s /c/",
    ),
    (
        "names of one file h6",
        "RUN mkdir /d && touch -d @1600000000 /d/a && ln /d/a /d/b\nFROM scratch\nCOPY --from=0 /d/a /d/b /named/\nCOPY --from=0 /d/* /matched/\nCOPY --from=0 /d /whole/\nCOPY --from=0 --parents /d/* /",
    ),
];

/// What buildah is asked for: it takes seconds for each.
const BUILDAHS: [&str; 4] = [
    "names and wildcards h3 h9",
    "owners and modes h12 h16",
    "archives h25",
    "commands i1 m2",
];

/// Where buildah (1.28) differs from us and from BuildKit. The reasons are in `docs/dockerfile.md`.
const OF_BUILDAH: [&str; 7] = [
    // Several files and a destination without a slash.
    "names and wildcards h3 h9: one",
    "names and wildcards h3 h9: one/a.txt",
    "names and wildcards h3 h9: one/b.txt",
    // --chmod and the directories on the way.
    "owners and modes h12 h16: x",
    "owners and modes h12 h16: x/y",
    // The time of a destination that is made.
    "owners and modes h12 h16: z",
    "archives h25: t",
];

/// Where BuildKit differs from us: times of directories that are made for a copy.
const OF_BUILDKIT: [&str; 3] = [
    "links h5: all",
    "archives h25: t",
    "flags of copies h16 h21 h23: p",
];

/// What buildah leaves of its mounts in a root that had no such files.
const STUBS: [&str; 5] = ["etc", "etc/hostname", "etc/hosts", "etc/resolv.conf", "run"];

fn fill(bench: &Bench) {
    for (path, content) in [
        ("a.txt", "A"),
        ("b.txt", "B"),
        ("dir/c.txt", "C"),
        ("dir/sub/d.txt", "D"),
        ("dir/sub/deep/e", "E"),
    ] {
        bench.file(path, content);
    }
    bench.mode("dir/sub", 0o750);
    bench.mode("a.txt", 0o755);
    bench.link("link", "a.txt");
    bench.link("dir/in", "c.txt");
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program)
            .args(arguments)
            .current_dir(bench.context())
            .status();
        assert!(status.unwrap().success(), "{program}");
    };
    run("cp", &["/bin/busybox", "busybox"]);
    run(
        "tar",
        &["cf", "files.tar", "--owner=3", "--group=4", "a.txt", "dir"],
    );
    run(
        "find",
        &[".", "-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"],
    );
}

fn dockerfile(lines: &str) -> String {
    format!(
        "FROM scratch\nCOPY busybox /bin/busybox\nENV PATH=/bin\n\
         RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n{lines}\n"
    )
}

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn read(layout: &Path) -> Built {
    let layout = Layout::open(layout).unwrap();
    let reference: Reference = "x".parse().unwrap();
    let image: Image = layout.image(&reference, &Platform::linux("amd64")).unwrap();
    Built {
        image,
        executed: 0,
        cached: 0,
        output: String::new(),
        steps: Vec::new(),
        warnings: Vec::new(),
    }
}

/// What a path is, without the times of what the build made: those differ from build to build.
fn tree(built: &Built) -> BTreeMap<String, Found> {
    let mut files = built.files();
    files.retain(|path, _| !path.starts_with("bin/") && !matches!(path.as_str(), "dev" | "proc" | "sys"));
    for found in files.values_mut() {
        if found.mtime > 1_600_000_000 {
            found.mtime = i64::MAX;
        }
    }
    files
}

/// Paths, and what is there in ours and in theirs.
fn differences(ours: &Built, theirs: &Built) -> Vec<(String, String)> {
    let (ours, theirs) = (tree(ours), tree(theirs));
    let paths: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    paths
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            let both = format!("{:?} against {:?}", ours.get(path), theirs.get(path));
            (path.clone(), both)
        })
        .collect()
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// Whether these programs are installed, and this user may run them.
fn can_judge(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {} needs root", programs[0]);
        return false;
    }
    match programs.iter().find(|program| !is_there(program)) {
        Some(missing) => println!("skipped: {missing} not found"),
        None => return true,
    }
    false
}

#[test]
fn buildah_makes_the_same_files_u6() {
    if !can_judge(&["buildah"]) {
        return;
    }
    let bench = Bench::new();
    fill(&bench);
    let storage = bench.directory.path().join("storage");
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(storage.join("root"))
            .arg("--runroot")
            .arg(storage.join("run"))
            .args(["--storage-driver", "vfs"])
            .args(arguments);
        run(&mut command)
    };
    let context = bench.context();
    let mut found = Vec::new();
    for (number, (name, lines)) in CASES.into_iter().enumerate() {
        if !BUILDAHS.contains(&name) {
            continue;
        }
        let dockerfile = dockerfile(lines);
        let ours = bench.build(&dockerfile);
        std::fs::write(bench.directory.path().join("Dockerfile"), &dockerfile).unwrap();
        let file = bench.directory.path().join("Dockerfile");
        buildah(&[
            "build",
            "--quiet",
            "--isolation",
            "chroot",
            "--tag",
            "x",
            "-f",
            file.to_str().unwrap(),
            context.to_str().unwrap(),
        ]);
        let layout = bench.directory.path().join(format!("layout-{number}"));
        buildah(&[
            "push",
            "--quiet",
            "x",
            &format!("oci:{}:index.docker.io/library/x:latest", layout.display()),
        ]);
        let theirs = read(&layout);
        for (path, difference) in differences(&ours, &theirs) {
            if !STUBS.contains(&path.as_str()) {
                found.push((format!("{name}: {path}"), difference));
            }
        }
    }
    buildah(&["rmi", "--all", "--force"]);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, OF_BUILDAH, "{found:#?}");
}

/// A daemon that ends with the test.
struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    fn start(directory: &Path) -> Self {
        let address = format!("unix://{}/socket", directory.display());
        let child = Command::new("buildkitd")
            .args(["--addr", &address, "--oci-worker-net", "host", "--root"])
            .arg(directory.join("buildkit"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, address };
        let start = Instant::now();
        while !daemon
            .control(&["debug", "workers"])
            .output()
            .unwrap()
            .status
            .success()
        {
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "buildkitd does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildctl");
        command.args(["--addr", &self.address]).args(arguments);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(ended.is_ok_and(|status| status.success()) && self.child.wait().is_ok());
    }
}

#[test]
fn buildkit_makes_the_same_image_u6() {
    if !can_judge(&["buildkitd", "buildctl"]) {
        return;
    }
    let bench = Bench::new();
    fill(&bench);
    let directory = bench.directory.path();
    let daemon = Daemon::start(directory);
    let context = bench.context();
    let mut found = Vec::new();
    for (number, (name, lines)) in CASES.into_iter().enumerate() {
        let dockerfile = dockerfile(lines);
        let ours = bench.build(&dockerfile);
        let file = directory.join("file");
        std::fs::create_dir_all(&file).unwrap();
        std::fs::write(file.join("Dockerfile"), &dockerfile).unwrap();
        let layout = directory.join(format!("layout-{number}"));
        let output = format!("type=oci,tar=false,name=x,dest={}", layout.display());
        let locals = [
            format!("context={}", context.display()),
            format!("dockerfile={}", file.display()),
        ];
        run(daemon
            .control(&["build", "--frontend", "dockerfile.v0", "--output", &output])
            .args(["--local", &locals[0], "--local", &locals[1]]));
        let theirs = read(&layout);
        for (path, difference) in differences(&ours, &theirs) {
            found.push((format!("{name}: {path}"), difference));
        }
        let mut differ = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push((format!("{name}: {what}"), format!("{ours}\n against {theirs}")));
            }
        };
        let shown = |built: &Built| serde_json::to_string_pretty(&built.config().config).unwrap();
        differ("configuration", shown(&ours), shown(&theirs));
        differ(
            "history",
            format!("{:#?}", ours.history()),
            format!("{:#?}", theirs.history()),
        );
        let layers = |built: &Built| built.image.layers().len().to_string();
        differ("layers", layers(&ours), layers(&theirs));
    }
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, OF_BUILDKIT, "{found:#?}");
}
