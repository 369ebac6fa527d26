//! Properties of all readers and writers: nothing panics on any bytes, and what is written reads back the same.

mod readers;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use lifecycle_spec::label::{
    BuildLabel, BuildpackLayers, LayerMetadata, LayerSha, LifecycleLabel, RunImageLabel,
};
use lifecycle_spec::{
    AnalyzedToml, BuildpackApi, BuildpackId, BuildpackPlan, EnvDirectory, Environment, ExecEnvs, GroupModule,
    GroupToml, MetadataToml, OrderEntry, OrderGroup, OrderToml, PlatformApi, Process, Requirement,
    RunImageEntry, StoreToml, Value, ValueTable, Version,
};
use proptest::prelude::*;

use self::readers::{read_all_documents, read_all_labels};

/// TOML that gets past the parser often enough to reach the readers: keys of the documents with values of any type.
fn toml_like() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "id",
        "version",
        "api",
        "name",
        "type",
        "command",
        "args",
        "group",
        "order",
        "buildpack",
        "metadata",
        "image",
        "images",
        "run-image",
        "processes",
        "entries",
        "requires",
        "or",
        "types",
        "launch",
        "system",
        "pre",
        "build",
        "_",
        "io",
        "buildpacks",
        "schema-version",
        "exec-env",
        "layers",
        "\"é\"",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "-0.5",
        "true",
        "''",
        "'x'",
        "\"\\u0000\"",
        "[]",
        "[1, 'a']",
        "['a']",
        "{}",
        "{ id = 'a', version = '1' }",
        "[{ name = 'a' }]",
        "1979-05-27",
        "inf",
        "0xff",
        "99999999999999999999",
        "'0.2'",
        "[{}]",
    ]);
    let line = prop_oneof![
        4 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => prop::collection::vec(key.clone(), 1..4).prop_map(|keys| format!("[{}]", keys.join("."))),
        2 => prop::collection::vec(key, 1..4).prop_map(|keys| format!("[[{}]]", keys.join("."))),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

fn json_like() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1".to_owned()),
        Just("\"a\"".to_owned()),
        Just("true".to_owned())
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key = prop::sample::select(vec![
            "app",
            "sha",
            "buildpacks",
            "key",
            "version",
            "layers",
            "a",
            "data",
            "store",
            "metadata",
            "runImage",
            "image",
            "mirrors",
            "stack",
            "id",
            "processes",
            "type",
            "command",
            "group",
            "order",
            "apis",
            "pre",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|members| format!("[{}]", members.join(","))),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|entries| {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        prop::num::f64::NORMAL.prop_map(Value::Float),
        Just(Value::Float(0.0)),
        Just(Value::Datetime("1979-05-27T07:32:00Z".to_owned())),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Value::Table),
        ]
    })
}

fn values() -> impl Strategy<Value = ValueTable> {
    prop::collection::btree_map(any::<String>(), value(), 0..4)
}

fn id() -> impl Strategy<Value = BuildpackId> {
    "[a-z]{1,6}/[a-z.-]{1,6}".prop_filter_map("a reserved name", |text| BuildpackId::new(text).ok())
}

fn version() -> impl Strategy<Value = Version> {
    "[0-9]{1,3}\\.[0-9]\\.[0-9]".prop_filter_map("not a version", |text| Version::new(text).ok())
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("empty is absent", |text| !text.is_empty())
}

fn module() -> impl Strategy<Value = GroupModule> {
    (id(), version(), prop::option::of(text()), text()).prop_map(|(id, version, homepage, api)| GroupModule {
        id,
        version,
        homepage,
        api,
    })
}

fn process() -> impl Strategy<Value = Process> {
    (
        (
            text(),
            prop::collection::vec(text(), 1..4),
            prop::option::of(prop::collection::vec(any::<String>(), 0..3)),
        ),
        (
            any::<bool>(),
            prop::option::of(text()),
            prop::option::of(text()),
            prop::collection::vec(text(), 0..3),
        ),
    )
        .prop_map(
            |((process_type, command, args), (direct, buildpack_id, working_dir, exec_env))| Process {
                process_type,
                command,
                args,
                direct,
                buildpack_id,
                working_dir,
                exec_env: ExecEnvs(exec_env),
            },
        )
}

fn metadata() -> impl Strategy<Value = MetadataToml> {
    let modules = || prop::collection::vec(module(), 0..3);
    (
        prop::option::of(text()),
        modules(),
        modules(),
        prop::collection::vec(process(), 0..3),
    )
        .prop_map(
            |(default_process, buildpacks, extensions, processes)| MetadataToml {
                default_process,
                buildpacks,
                extensions,
                processes,
                ..MetadataToml::default()
            },
        )
}

fn label() -> impl Strategy<Value = LifecycleLabel> {
    let layer = (
        any::<String>(),
        prop::option::of(values()),
        any::<(bool, bool, bool)>(),
    )
        .prop_map(|(sha, data, (build, launch, cache))| LayerMetadata {
            sha,
            data,
            build,
            launch,
            cache,
        });
    let layers = prop::collection::btree_map("[a-z é.]{1,6}", layer, 0..3);
    let buildpack = (id(), any::<String>(), layers, prop::option::of(values())).prop_map(
        |(key, version, layers, store)| BuildpackLayers {
            key,
            version,
            layers,
            store: store.map(|metadata| StoreToml { metadata }),
        },
    );
    let run_image = (
        any::<String>(),
        any::<String>(),
        text(),
        prop::collection::vec(any::<String>(), 0..3),
    )
        .prop_map(|(top_layer, reference, image, mirrors)| RunImageLabel {
            top_layer,
            reference,
            source: RunImageEntry { image, mirrors },
        });
    (
        prop::collection::vec(buildpack, 0..3),
        run_image,
        prop::option::of(text()),
        any::<String>(),
    )
        .prop_map(|(buildpacks, run_image, exec_env, sha)| LifecycleLabel {
            buildpacks,
            run_image,
            exec_env,
            sbom: Some(LayerSha::new(sha)),
            ..LifecycleLabel::default()
        })
}

/// What is left of a value after JSON: dates are strings there, and a whole number has lost its fraction.
fn through_json(value: &Value) -> Value {
    match value {
        Value::Datetime(text) => Value::String(text.clone()),
        // `1.0` is written `1`, up to 1e21; what then fits is an integer.
        Value::Float(float) if float.abs() < 1e21 => float
            .to_string()
            .parse()
            .map_or(Value::Float(*float), Value::Integer),
        Value::Array(members) => Value::Array(members.iter().map(through_json).collect()),
        Value::Table(table) => Value::Table(table_through_json(table)),
        other => other.clone(),
    }
}

fn table_through_json(table: &ValueTable) -> ValueTable {
    table
        .iter()
        .map(|(key, value)| (key.clone(), through_json(value)))
        .collect()
}

proptest! {
    #[test]
    fn no_document_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all_documents(&bytes);
    }

    #[test]
    fn no_document_panics_on_text(text in any::<String>()) {
        read_all_documents(text.as_bytes());
        read_all_labels(&text);
    }

    #[test]
    fn no_document_panics_on_nearly_right_toml(text in toml_like()) {
        read_all_documents(text.as_bytes());
    }

    #[test]
    fn no_label_panics_on_nearly_right_json(text in json_like()) {
        read_all_labels(&text);
    }

    #[test]
    fn no_version_panics(text in any::<String>()) {
        let _outcome = PlatformApi::negotiate(Some(&text));
        let _outcome = BuildpackApi::negotiate(&text, "Buildpack", "a@1");
    }

    #[test]
    fn free_form_values_read_back(metadata in values()) {
        let store = StoreToml { metadata };
        let written = store.to_toml();
        prop_assert_eq!(StoreToml::parse(Path::new("x"), written.as_bytes()).unwrap(), store, "{}", written);
    }

    #[test]
    fn metadata_toml_reads_back(metadata in metadata()) {
        let written = metadata.to_toml(PlatformApi::V0_15);
        prop_assert_eq!(MetadataToml::parse(Path::new("x"), written.as_bytes()).unwrap(), metadata, "{}", written);
    }

    #[test]
    fn build_label_reads_back(metadata in metadata()) {
        let json = BuildLabel::json_of(&metadata, &lifecycle_spec::label::LauncherVersion::default(), PlatformApi::V0_15);
        let label = BuildLabel::parse(&json).unwrap();
        prop_assert_eq!(label.processes, metadata.processes);
        prop_assert_eq!(label.buildpacks, metadata.buildpacks);
        prop_assert_eq!(label.default_process, metadata.default_process);
    }

    #[test]
    fn group_toml_reads_back(buildpacks in prop::collection::vec(module(), 0..4), extensions in prop::collection::vec(module(), 0..3)) {
        let group = GroupToml { buildpacks, extensions };
        prop_assert_eq!(GroupToml::parse(Path::new("x"), group.to_toml().as_bytes()).unwrap(), group);
    }

    #[test]
    fn order_toml_reads_back(ids in prop::collection::vec(prop::collection::vec((id(), version(), any::<bool>()), 1..4), 0..4)) {
        let group = |entries: &Vec<(BuildpackId, Version, bool)>| OrderGroup {
            group: entries
                .iter()
                .map(|(id, version, optional)| OrderEntry {
                    id: id.clone(),
                    version: version.clone(),
                    optional: *optional,
                    exec_env: ExecEnvs::default(),
                })
                .collect(),
        };
        let order = OrderToml { order: ids.iter().map(group).collect(), order_extensions: Vec::new() };
        prop_assert_eq!(OrderToml::parse(Path::new("x"), order.to_toml().as_bytes()).unwrap(), order);
    }

    #[test]
    fn buildpack_plan_reads_back(entries in prop::collection::vec((text(), prop::option::of(values())), 0..4)) {
        let entries = entries.into_iter().map(|(name, metadata)| Requirement { name, metadata }).collect();
        let plan = BuildpackPlan { entries };
        prop_assert_eq!(BuildpackPlan::parse(Path::new("x"), plan.to_toml().as_bytes()).unwrap(), plan);
    }

    #[test]
    fn analyzed_toml_reads_back(metadata in label()) {
        // Empty strings are absent in TOML, and mirrors without text mirror nothing.
        let analyzed = AnalyzedToml { previous_image: Some("r/app".to_owned()), metadata, ..AnalyzedToml::default() };
        let written = analyzed.to_toml();
        prop_assert_eq!(AnalyzedToml::parse(Path::new("x"), written.as_bytes()).unwrap(), analyzed, "{}", written);
    }

    #[test]
    fn lifecycle_label_reads_back(label in label()) {
        let read = LifecycleLabel::parse(&label.to_json()).unwrap();
        let mut expected = label;
        for buildpack in &mut expected.buildpacks {
            for layer in buildpack.layers.values_mut() {
                layer.data = layer.data.as_ref().map(table_through_json);
            }
            if let Some(store) = &mut buildpack.store {
                store.metadata = table_through_json(&store.metadata);
            }
        }
        prop_assert_eq!(read, expected);
    }

    /// One variable, any files: whatever is applied, other variables stay as they were.
    #[test]
    fn environment_rules_touch_what_they_name(
        suffixes in prop::collection::vec("(\\.(append|prepend|default|override|delim|x))?", 0..5),
        contents in prop::collection::vec(any::<u8>(), 0..8),
        before in prop::option::of("[a-z:]{0,4}"),
    ) {
        let files: EnvDirectory = suffixes
            .iter()
            .map(|suffix| (OsString::from(format!("A{suffix}")), OsString::from_vec(contents.clone())))
            .collect();
        let mut start = BTreeMap::from([(OsString::from("B"), OsString::from("b"))]);
        start.extend(before.map(|value| (OsString::from("A"), OsString::from(value))));
        let mut environment: Environment = start.clone().into_iter().collect();
        environment.apply_layer(&[files.clone(), files]);
        prop_assert_eq!(environment.get("B"), Some("b".as_ref()));
        prop_assert!(environment.iter().count() <= 2);
    }
}
