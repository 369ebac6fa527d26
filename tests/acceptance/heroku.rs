//! The classic Heroku way: real apps through classic buildpacks, and the tools of old in a container.

use std::fs;
use std::process::Command;

use crate::real::{Server, app, machine};
use crate::slugs::content;
use crate::support::executable::copy_program;
use crate::support::file_server::{Action, FileServer, Signer};
use crate::support::{BuilderRoot, Machine};

/// The archive of a fixture buildpack.
fn buildpack(name: &str) -> Vec<u8> {
    let directory = format!("{}/tests/fixtures/classic", env!("CARGO_MANIFEST_DIR"));
    let mut tar = Command::new("tar");
    tar.args(["cz", name]).current_dir(directory);
    tar.output().unwrap().stdout
}

#[test]
fn apps_answer_alike_as_slug_as_image_and_from_a_build_of_buildpacks_sl_05_sb_04_cs_04() {
    let machine = machine();
    let server = FileServer::start();
    for (name, kind, text) in [
        ("node", "node", "Hello from Node"),
        ("django", "python", "Hello from a row"),
    ] {
        let source = app(name);
        let source = source.to_str().unwrap();
        let (image, other) = (format!("classic/{name}"), format!("classic-cnb/{name}"));
        server.keep(&format!("/{kind}.tgz"), buildpack(kind), &[]);
        let address = server.url(&format!("/{kind}.tgz"));

        // Source to slug and image; the second time with what the first one kept, to the same bytes.
        let build = |slug: &str| {
            let words = ["slug", "build", source, "-b", &address, "-o", slug, "-t", &image];
            let cache = ["--cache", &machine.text(&format!("cache-{name}"))];
            machine
                .lifecycle(&[&words[..], &cache].concat())
                .with_network_settings()
                .succeeds()
        };
        let (first, second) = (machine.text("first.tgz"), machine.text("second.tgz"));
        let installed = build(&first).says("-----> Installing ").text();
        let digest = machine.digest(&image);
        build(&second).says("from the cache");
        assert_eq!(
            fs::read(&first).unwrap(),
            fs::read(&second).unwrap(),
            "{name} again"
        );
        assert_eq!(machine.digest(&image), digest, "{name} again");

        // What is said of its size is its size.
        let size = machine
            .lifecycle(&["slug", "size", &first, "--output", "json"])
            .succeeds()
            .json();
        let compressed = fs::metadata(&first).unwrap().len();
        assert_eq!(size["compressed"], compressed);
        let report = installed
            .lines()
            .find_map(|line| line.strip_prefix("-----> Compiled slug size is "));
        let report = report.unwrap().trim_end_matches('M').parse::<f64>().unwrap();
        let megabytes = f64::from(u32::try_from(compressed).unwrap()) / f64::from(1 << 20);
        assert!((report - megabytes).abs() < 0.6, "{report} {megabytes}");

        // The same buildpack in a build of buildpacks.
        let classic = format!("BP_CLASSIC_BUILDPACKS={address}");
        let words = ["build", source, "--env", &classic, "--tag", &other];
        machine.lifecycle(&words).with_network_settings().succeeds();

        let start = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Server::with_port(&machine, |port| {
                words
                    .into_iter()
                    .map(|word| if word == "PORT" { port.clone() } else { word })
                    .collect()
            })
        };
        let servers = [
            start(&["slug", "run", &first, "-p", "PORT", "start", "web"]),
            start(&["run", &image, "web", "--port", "PORT"]),
            start(&["run", &other, "web", "--port", "PORT"]),
        ];
        let pages = servers.map(|mut server| {
            let page = server.page("/");
            server.stop();
            page
        });
        assert!(pages[0].contains(text), "{}", pages[0]);
        assert!(pages.iter().all(|page| *page == pages[0]), "{pages:?}");
    }
}

/// The cache of a build of buildpacks, which is written when all of it has succeeded: not a byte of it changes otherwise.
#[test]
fn a_failing_compile_leaves_the_cache_of_the_last_good_build_cs_06() {
    let machine = machine();
    let compile = "#!/bin/sh\necho \"found: $(cat \"$2/count\" 2>/dev/null)\"\necho x >>\"$2/count\"\n[ ! -e \"$1/fail\" ] || { echo 'the last words'; exit 7; }\n";
    let app = machine.files(
        "app",
        &[
            (".buildpacks", "./pack\n"),
            ("pack/bin/detect", "#!/bin/sh\necho Counting\n"),
            ("pack/bin/compile", compile),
            ("Procfile", "web: true\n"),
        ],
    );
    let app = app.to_str().unwrap();
    let words = ["build", app, "--tag", "classic/count", "--cache", "./cache"];
    let build = machine.lifecycle(&words);
    build.succeeds().says("found: \n");
    build.succeeds().says("found: x\n");
    let (kept, digest) = (content(&machine.path("cache")), machine.digest("classic/count"));
    fs::write(machine.path("app/fail"), "").unwrap();
    build
        .fails(51)
        .says("found: x\nx\n")
        .says("the last words")
        .says("bin/compile of Counting failed");
    assert_eq!(content(&machine.path("cache")), kept);
    assert_eq!(machine.digest("classic/count"), digest);
    fs::remove_file(machine.path("app/fail")).unwrap();
    build.succeeds().says("found: x\nx\n").does_not_say("x\nx\nx\n");
}

/// A builder's root with what a container of herokuish has, and the program under the names of old.
fn container(machine: &Machine) -> BuilderRoot {
    let root = BuilderRoot::unpack(machine);
    copy_program(
        env!("CARGO_BIN_EXE_lifecycle"),
        root.at("/cnb/lifecycle/lifecycle"),
    );
    root.prepare(
        "for name in herokuish slugbuilder slugrunner; do ln -s /cnb/lifecycle/lifecycle /bin/$name; done
         mkdir -p /app /tmp/buildpacks/01_http/bin /tmp/app/.hidden /tmp/env
         echo old >/app/old; echo '<p>hello</p>' >/tmp/app/index.html; echo x >/tmp/app/.hidden/f
         echo Tuesday >/tmp/env/DAY
         cd /tmp/buildpacks/01_http/bin
         printf '#!/bin/sh\n[ -f $1/index.html ] && echo Pages\n' >detect
         printf '#!/bin/sh\necho $(cat $2/count 2>/dev/null) builds before; echo 1 >>$2/count; cat $3/DAY\n' >compile
         printf '#!/bin/sh\necho default_process_types:; echo \"  web: httpd -f -p 127.0.0.1:\\$PORT -h .\"\n' >release
         chmod 755 *",
    );
    root
}

#[test]
fn herokuish_builds_in_place_he_01_he_05_he_06() {
    let machine = Machine::new();
    let root = container(&machine);
    let herokuish = |words: &[&str]| {
        root.as_root(&[&["/bin/herokuish"], words].concat())
            .env("PATH", "/bin")
            .env("TMPDIR", "/tmp")
    };
    assert_eq!(herokuish(&["buildpack", "list"]).succeeds().stdout(), "01_http\n");
    assert_eq!(herokuish(&["buildpack", "detect"]).succeeds().stdout(), "Pages\n");
    assert!(root.at("/app/old").exists(), "nothing is built yet");
    herokuish(&["buildpack", "build"])
        .succeeds()
        .says("-----> Pages app detected")
        .says("       Tuesday");
    // What was imported takes the place of what was there, with its hidden files.
    assert!(!root.at("/app/old").exists() && root.at("/app/.hidden/f").exists());
    assert_eq!(
        fs::read_to_string(root.at("/app/index.html")).unwrap(),
        "<p>hello</p>\n"
    );
    herokuish(&["procfile", "parse", "web"])
        .succeeds()
        .says("httpd -f");
    // It is built, started, and asked.
    herokuish(&["test", "/tmp/app", "<p>hello</p>"])
        .succeeds()
        .says("The app answers as expected");
    herokuish(&["test", "/tmp/app", "<p>goodbye</p>"])
        .fails(1)
        .says("goodbye");
    let server = FileServer::start();
    herokuish(&["slug", "generate"]).succeeds();
    herokuish(&["slug", "export", &server.url("/slug.tgz")]).succeeds();
    assert!(server.kept("/slug.tgz").unwrap().starts_with(&[0x1f, 0x8b]));
    herokuish(&["slug", "import", &server.url("/slug.tgz")])
        .fails(1)
        .says("not empty");
    root.prepare("rm -rf /app/* /app/.[a-z]*");
    herokuish(&["slug", "import", &server.url("/slug.tgz")]).succeeds();
    assert!(root.at("/app/Procfile").exists());
}

/// Each script sees what those before it have set, and the config vars are there before all of them.
#[test]
fn what_is_sourced_before_a_process_has_its_order_he_03() {
    let machine = Machine::new();
    let root = container(&machine);
    root.prepare(
        "mkdir -p /etc/profile.d /app/.profile.d; echo files >/tmp/env/ORDER
         say() { printf 'export ORDER=\"$ORDER, %s\"\n' \"$1\" >\"$2\"; }
         say system /etc/profile.d/a.sh; say first /app/.profile.d/1.sh; say second /app/.profile.d/2.sh
         say last /app/.profile; echo 'web: echo \"order: $ORDER\"' >/app/Procfile",
    );
    let expected = "order: files, system, first, second, last\n";
    for words in [
        ["/bin/herokuish", "procfile", "start", "web"],
        ["/bin/herokuish", "procfile", "exec", "echo \"order: $ORDER\""],
    ] {
        let run = root.as_root(&words).env("PATH", "/bin").env("TMPDIR", "/tmp");
        assert_eq!(run.succeeds().stdout(), expected, "{words:?}");
    }
    // slugrunner leaves the system's scripts and the secret alone.
    let run = root
        .as_root(&["/bin/slugrunner", "start", "web"])
        .env("PATH", "/bin")
        .env("TMPDIR", "/tmp");
    assert_eq!(
        run.env("ORDER", "own").succeeds().stdout(),
        "order: own, first, second, last\n"
    );
}

/// As the image's user, who can become nobody else and give nothing away.
#[test]
fn nothing_of_herokuish_needs_root_he_06() {
    let machine = Machine::new();
    let root = container(&machine);
    root.prepare("chown -R 1000:1000 /app /tmp/buildpacks /tmp/app /tmp/env; chmod 1777 /tmp; mkdir /tmp/cache; chown 1000:1000 /tmp/cache");
    let herokuish = |words: &[&str]| {
        root.as_user(&[&["/bin/herokuish"], words].concat())
            .env("PATH", "/bin")
            .env("TMPDIR", "/tmp")
    };
    herokuish(&["buildpack", "build"])
        .succeeds()
        .says("-----> Pages app detected");
    herokuish(&["procfile", "exec", "id -u; cat index.html"])
        .succeeds()
        .says("1000\n<p>hello</p>\n");
    herokuish(&["test", "/tmp/app", "<p>hello</p>"])
        .succeeds()
        .says("The app answers as expected");
    herokuish(&["slug", "generate"])
        .succeeds()
        .says("-----> Compiled slug size is ");
}

#[test]
fn slugbuilder_and_slugrunner_use_a_store_sb_01_sb_03_sb_06_sb_08_sr_01() {
    let machine = Machine::new();
    let root = container(&machine);
    let store = FileServer::start();
    store.require_signed(
        "/deis/",
        Signer::S3 {
            key_id: "key-id",
            secret: "s3cret-key",
            region: "us-east-1",
            token: None,
        },
    );
    let credentials = root.at("/run/creds");
    fs::create_dir_all(&credentials).unwrap();
    for (name, value) in [
        ("builder-bucket", "deis"),
        ("accesskey", "key-id"),
        ("secretkey", "s3cret-key"),
        ("region", "us-east-1"),
        ("endpoint", &store.url("")),
    ] {
        fs::write(credentials.join(name), value).unwrap();
    }
    let tar = Command::new("tar")
        .args(["cz", "-C", root.at("/tmp/app").to_str().unwrap(), "."])
        .output()
        .unwrap();
    store.keep("/deis/home/app/tar", tar.stdout, &[]);
    store.keep(
        "/buildpack.tgz",
        {
            let mut tar = Command::new("tar");
            tar.args([
                "cz",
                "-C",
                root.at("/tmp/buildpacks").to_str().unwrap(),
                "01_http",
            ]);
            tar.output().unwrap().stdout
        },
        &[],
    );
    let tool = |words: &[&str]| {
        root.as_root(words)
            .env("PATH", "/bin")
            .env("TMPDIR", "/tmp")
            .env("BUILDER_STORAGE", "s3")
            .env("BUILDER_STORAGE_CREDENTIALS", "/run/creds")
            .env("TAR_PATH", "home/app/tar")
            .env("PUT_PATH", "home/app/push")
            .env("CACHE_PATH", "home/app/cache")
            .env("SLUG_URL", "home/app/push/slug.tgz")
            .env("BUILDPACK_URL", store.url("/buildpack.tgz"))
    };
    let build = || tool(&["/bin/slugbuilder"]);
    build()
        .succeeds()
        .says("       builds before")
        .does_not_say("s3cret-key");
    assert!(
        store
            .kept("/deis/home/app/push/Procfile")
            .unwrap()
            .starts_with(b"web: httpd")
    );
    assert!(store.kept("/deis/home/app/cache/cache.tgz").is_some());
    build().succeeds().says("       1 builds before");
    // A cache that is refused is warned about, a slug that is refused ends the build.
    store.once("PUT /deis/home/app/cache", Action::Answer(403, Vec::new()));
    build().succeeds().says("The cache could not be written");
    store.once(
        "PUT /deis/home/app/push/slug.tgz",
        Action::Answer(403, Vec::new()),
    );
    build()
        .fails(1)
        .says("s3://deis/home/app/push/slug.tgz")
        .does_not_say("s3cret-key");

    root.prepare("rm -rf /app/* /app/.[a-z]*");
    let run = tool(&["/bin/slugrunner", "cat index.html; echo $DAY $PORT"]).env("DAY", "Monday");
    run.succeeds().says("<p>hello</p>").says("Monday 5000");
    assert_eq!(store.forged(), [] as [&str; 0]);
    // Without the right key there is nothing to be had.
    fs::write(credentials.join("secretkey"), "an0ther").unwrap();
    build().fails(1).says("403").does_not_say("an0ther");
}

#[test]
fn slugs_and_their_source_are_behind_addresses_sb_05() {
    let machine = Machine::with_builder();
    let server = FileServer::start();
    let source = machine.files("app-1.0", &[("page", "hello"), ("Procfile", "web: cat page\n")]);
    let pack = machine.files(
        "pack",
        &[
            ("bin/detect", "#!/bin/sh\necho Pages\n"),
            ("bin/compile", "#!/bin/sh\necho compiled\n"),
        ],
    );
    let script = "tar czf app.tgz app-1.0; cd app-1.0; git init -q -b main; git add .
                  git -c user.name=a -c user.email=a@b commit -qm 1; git clone -q --bare . ../app.git; cd ../app.git; git update-server-info";
    let mut shell = Command::new("sh");
    assert!(
        shell
            .args(["-euc", script])
            .current_dir(machine.path(""))
            .status()
            .unwrap()
            .success()
    );
    server.keep("/app.tgz", fs::read(machine.path("app.tgz")).unwrap(), &[]);
    server.keep_directory("/app.git", &machine.path("app.git"));
    let words = |source: &str, output: &str| {
        let words = [
            "slug",
            "build",
            source,
            "-b",
            pack.to_str().unwrap(),
            "-o",
            output,
            "--cache",
            "none",
        ];
        let stack = [
            "--build-image",
            crate::support::images::BUILD,
            "--run-image",
            crate::support::images::RUN,
        ];
        [&words[..], &stack]
            .concat()
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let build = |source: &str, output: &str| {
        let words = words(source, output);
        machine.lifecycle(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    server.require_signed(
        "/bucket/",
        Signer::S3 {
            key_id: "key-id",
            secret: "s3cret-key",
            region: "us-east-1",
            token: None,
        },
    );
    let store = |invocation: crate::support::Invocation| {
        invocation
            .env("AWS_ACCESS_KEY_ID", "key-id")
            .env("AWS_SECRET_ACCESS_KEY", "s3cret-key")
            .env("AWS_ENDPOINT_URL", server.url(""))
    };
    build(&server.url("/app.tgz"), &server.url("/slug.tgz?signature=x"))
        .succeeds()
        .does_not_say("signature");
    store(build(
        &format!("{}#main", server.url("/app.git")),
        "s3://bucket/slug.tgz",
    ))
    .succeeds();
    let size = store(machine.lifecycle(&["slug", "inspect", "s3://bucket/slug.tgz"])).succeeds();
    size.says("web: cat page");
    machine
        .lifecycle(&["slug", "inspect", &server.url("/slug.tgz")])
        .succeeds()
        .says("web: cat page");
    // The same commit gives the same slug, whenever it is fetched.
    let first = server.kept("/bucket/slug.tgz").unwrap();
    store(build(
        &format!("{}#main", server.url("/app.git")),
        "s3://bucket/slug.tgz",
    ))
    .succeeds();
    assert_eq!(server.kept("/bucket/slug.tgz").unwrap(), first);
    assert!(source.exists());

    // What is not there, and what is not taken.
    let output = machine.text("never.tgz");
    build(&server.url("/missing.tgz"), &output)
        .fails(1)
        .says("there is nothing at that address");
    build("s3://bucket/missing.tgz", &output).fails(1);
    server.once("PUT /refused.tgz", Action::Answer(403, Vec::new()));
    build(&server.url("/app.tgz"), &server.url("/refused.tgz"))
        .fails(1)
        .says("403");
    assert!(!machine.path("never.tgz").exists());
}
