use std::path::Path;

use super::{ProjectSchema, ProjectToml};
use crate::Flaw;

fn parse(text: &str) -> Result<(ProjectToml, Vec<String>), Flaw> {
    let (project, warnings) = ProjectToml::parse(Path::new("project.toml"), text.as_bytes())?;
    Ok((project, warnings.iter().map(ToString::to_string).collect()))
}

#[test]
fn every_key_of_schema_0_3() {
    let text = r#"
[_]
schema-version = "0.3"
id = "i"
name = "n"
version = "v"
authors = ["a"]
documentation-url = "d"
source-url = "s"
[[_.licenses]]
type = "MIT"
[_.metadata]
free.x = 1
[io.buildpacks]
builder = "b"
exclude = ["*.md", "!README.md"]
[[io.buildpacks.group]]
id = "acme/a"
version = "1"
exec-env = ["test"]
[[io.buildpacks.pre.group]]
uri = "./pre"
[[io.buildpacks.post.group]]
id = "acme/inline"
[io.buildpacks.post.group.script]
api = "0.10"
inline = "echo hi"
[[io.buildpacks.build.env]]
name = "A"
value = ""
exec-env = ["production"]
[com.example]
anything = true
"#;
    let (project, warnings) = parse(text).unwrap();
    assert_eq!(warnings, [] as [&str; 0]);
    assert_eq!(project.schema, ProjectSchema::V0_3);
    assert_eq!(project.exclude, ["*.md", "!README.md"]);
    assert!(!project.group[0].exec_env.include("production"));
    assert_eq!(project.pre[0].uri.as_deref(), Some("./pre"));
    assert_eq!(project.post[0].script.as_ref().unwrap().shell, "/bin/sh");
    assert_eq!(
        (project.env[0].name.as_str(), project.env[0].value.as_str()),
        ("A", "")
    );
}

#[test]
fn schema_0_1_prj_07() {
    let text = "[project]\nid = 'i'\n[build]\ninclude = ['a']\nbuilder = 'b'\n[[build.buildpacks]]\nid = 'x'\nversion = '1'\n[[build.env]]\nname = 'A'\nvalue = 'v'\n[metadata]\nk = 1\n";
    let (project, warnings) = parse(text).unwrap();
    assert_eq!(
        warnings,
        ["project.toml:1:1: no `schema-version` in `[_]`: the file is read as schema 0.1"]
    );
    assert_eq!(project.schema, ProjectSchema::V0_1);
    assert_eq!(
        (project.group.len(), project.env.len(), project.include.len()),
        (1, 1, 1)
    );
}

#[test]
fn unknown_keys_are_warnings_with_their_place_prj_08() {
    let text = "top = 1\n[_]\nschema-version = '0.2'\nnam = 'x'\n[io.buildpacks]\nbuildr = 'b'\n[[io.buildpacks.group]]\nid = 'a'\nexec-env = ['test']\n[io.other]\nx = 1\n[com.example]\ny = 1\n";
    let (_, warnings) = parse(text).unwrap();
    assert_eq!(
        warnings,
        [
            "project.toml:1:1: unknown key `top`",
            "project.toml:4:1: unknown key `_.nam`",
            "project.toml:6:1: unknown key `io.buildpacks.buildr`",
            "project.toml:9:1: unknown key `io.buildpacks.group.exec-env`",
        ]
    );
}

#[test]
fn swapped_env_of_schema_0_2_is_read_prj_08() {
    let text = "[_]\nschema-version = '0.2'\n[[io.buildpacks.env.build]]\nname = 'A'\nvalue = 'v'\n";
    let (project, warnings) = parse(text).unwrap();
    assert_eq!((project.env.len(), warnings.len()), (1, 0));
}

#[test]
fn contradictions_are_errors_prj_02_prj_03() {
    let two = "[_]\nschema-version = '0.2'\n[io.buildpacks]\n";
    for (text, message) in [
        (
            format!("{two}include = ['a']\nexclude = ['b']\n"),
            "`include` and `exclude` cannot be used together",
        ),
        (
            format!("{two}group = [{{ id = 'a', version = '1', uri = 'u' }}]\n"),
            "a buildpack with a `uri` has neither `version` nor `script`",
        ),
        (
            format!("{two}group = [{{ exec-env = [] }}]\n"),
            "a buildpack needs an `id`, a `uri` or a `script`",
        ),
        (
            format!("{two}group = [{{ script = {{ api = '0.9' }} }}]\n"),
            "missing key `inline` in `io.buildpacks.group.script`",
        ),
        (
            "[build]\nbuildpacks = [{ id = 'a', uri = 'u' }]\n".to_owned(),
            "a buildpack has either an `id` or a `uri`",
        ),
        (
            "[_]\nschema-version = '0.4'\n".to_owned(),
            "unknown schema version `0.4`: it is one of 0.1, 0.2 and 0.3",
        ),
        (
            "[[project.licenses]]\n".to_owned(),
            "a license needs a `type` or a `uri`",
        ),
    ] {
        assert_eq!(parse(&text).unwrap_err().message(), message, "{text}");
    }
    // No contradiction for pack, which takes inline buildpacks with a version.
    let inline = "group = [{ id = 'a', version = '1', script = { api = '0.9', inline = 'x' } }]";
    let (project, _) = parse(&format!("{two}{inline}\n")).unwrap();
    assert!(project.group[0].script.is_some());
    assert_eq!(project.group[0].version, Some("1".parse().unwrap()));
}
