//! Every reader of the crate, fed with the same input. Property tests and fuzzers share them.

use std::path::Path;

use lifecycle_spec::label::{
    BuildLabel, BuilderLabel, CacheLabel, LifecycleLabel, ModuleLayers, OrderLabel, PackageLabel,
    SystemLabel, parse_mixins,
};
use lifecycle_spec::{
    AnalyzedToml, Apis, BuildPlan, BuildToml, BuilderToml, BuildpackApi, BuildpackPlan, BuildpackToml,
    ExtendConfigToml, ExtensionToml, Flaw, GroupToml, LaunchToml, LayerToml, LifecycleToml, MetadataToml,
    OrderToml, PackageToml, PlanToml, PlatformApi, ProjectMetadataToml, ProjectToml, ReportToml, RunToml,
    StackToml, StoreToml, SystemToml, read_exec_d,
};

/// What every document makes of some bytes. Flaws have a place within their text; what is read and can be written is
/// read again as what was written.
pub(crate) fn read_all_documents(bytes: &[u8]) {
    let path = Path::new("x");
    /// Reads a document that the lifecycle writes, too.
    macro_rules! rewritten {
        ($document:ty $(, $api:expr)?) => {{
            let read = <$document>::parse(path, bytes);
            if let Ok(document) = &read {
                let text = document.to_toml($($api)?);
                let again = <$document>::parse(path, text.as_bytes()).map(|document| document.to_toml($($api)?));
                assert_eq!(again.as_ref(), Ok(&text));
            }
            read.err()
        }};
    }
    let flaws = [
        rewritten!(AnalyzedToml),
        BuildPlan::parse(path, bytes).err(),
        BuildToml::parse(path, bytes).err(),
        BuilderToml::parse(path, bytes).err(),
        rewritten!(BuildpackPlan),
        BuildpackToml::parse(path, bytes).err(),
        ExtendConfigToml::parse(path, bytes).err(),
        ExtensionToml::parse(path, bytes).err(),
        rewritten!(GroupToml),
        LaunchToml::parse(path, bytes, BuildpackApi::V0_8).err(),
        LaunchToml::parse(path, bytes, BuildpackApi::V0_12).err(),
        LayerToml::parse(path, bytes).err(),
        rewritten!(LifecycleToml),
        rewritten!(MetadataToml, PlatformApi::LATEST),
        rewritten!(OrderToml),
        PackageToml::parse(path, bytes).err(),
        rewritten!(PlanToml),
        rewritten!(ProjectMetadataToml),
        ProjectToml::parse(path, bytes).err(),
        rewritten!(ReportToml, PlatformApi::LATEST),
        rewritten!(RunToml),
        rewritten!(StackToml),
        rewritten!(StoreToml),
        rewritten!(SystemToml),
        read_exec_d(path, bytes).err(),
    ];
    flaws.iter().flatten().for_each(check_place);
}

/// What every label makes of some text.
pub(crate) fn read_all_labels(text: &str) {
    /// Reads a label; what is written of it is read again as the same.
    macro_rules! rewritten {
        ($label:ty, $parse:ident) => {{
            let read = <$label>::$parse(text);
            if let Ok(label) = &read {
                let written = label.to_json();
                let again = <$label>::$parse(&written).map(|label| label.to_json());
                assert_eq!(again.as_ref(), Ok(&written));
            }
            read.err()
        }};
    }
    let flaws = [
        rewritten!(Apis, parse_label),
        BuildLabel::parse(text).err(),
        rewritten!(BuilderLabel, parse),
        rewritten!(CacheLabel, parse),
        rewritten!(LifecycleLabel, parse),
        rewritten!(ModuleLayers, parse),
        rewritten!(OrderLabel, parse),
        rewritten!(PackageLabel, parse),
        ProjectMetadataToml::parse_label(text).err(),
        rewritten!(SystemLabel, parse),
        parse_mixins(text).err(),
    ];
    flaws.iter().flatten().for_each(check_place);
}

fn check_place(flaw: &Flaw) {
    assert!(
        flaw.text().get(flaw.span()).is_some(),
        "{flaw}: {:?}",
        flaw.span()
    );
    assert!(flaw.line() >= 1 && flaw.column() >= 1);
    assert!(
        !flaw.message().is_empty() && !flaw.message().contains('\n'),
        "{flaw}"
    );
}
