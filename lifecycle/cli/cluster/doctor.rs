//! `lifecycle doctor --on kubernetes`

use std::collections::BTreeMap;
use std::process::ExitCode;

use lifecycle_kubernetes::{
    CacheAt, Credentials, Executor, Life, Manifests, Placement, PodSecurity, Recipe, RegistryAccess,
    Resources, SourceAt, Submission, build_id,
};

use super::connect;
use crate::arguments::{ClusterArguments, OutputForm};
use crate::console::{Column, Table};
use crate::failure::Failure;
use crate::session::Session;

/// Looks at a cluster as a small restricted build would meet it. Ends with 1 if something is missing.
pub(crate) fn doctor(
    arguments: &ClusterArguments,
    form: OutputForm,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let cluster = connect(arguments, session)?;
    let image = "doctor.invalid/app".parse()?;
    let manifests = Manifests::of(&Submission {
        id: build_id(&image, u64::from(std::process::id())),
        namespace: cluster.namespace().to_owned(),
        tags: vec![image],
        recipe: Recipe::Dockerfile {
            arguments: Vec::new(),
            secrets: BTreeMap::new(),
        },
        source: SourceAt::Remote {
            place: "https://doctor.invalid/app.git".to_owned(),
            variables: BTreeMap::new(),
        },
        executor: Executor {
            image: "doctor.invalid/executor".to_owned(),
            program: "/kaniko/lifecycle".to_owned(),
        },
        credentials: Credentials::None,
        cache: CacheAt::None,
        security: PodSecurity::Restricted,
        user: (65532, 65532),
        placement: Placement::default(),
        resources: Resources::default(),
        life: Life::default(),
        registry: RegistryAccess::default(),
    });
    let findings = cluster.examine(&manifests).map_err(super::failure)?;
    let is_fine = findings.iter().all(|finding| finding.is_fine);
    if form == OutputForm::Json {
        let shown: Vec<_> = findings
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "subject": finding.subject, "fine": finding.is_fine, "found": finding.found, "grant": finding.grant,
                })
            })
            .collect();
        session.console.json(&shown)?;
    } else {
        let mut table = Table::new([Column::Left("SUBJECT"), Column::Left(""), Column::Left("FOUND")]);
        for finding in &findings {
            let mark = if finding.is_fine { "ok" } else { "MISSING" };
            table.row([finding.subject.as_str(), mark, &finding.found]);
            if let Some(grant) = &finding.grant {
                table.row(["", "", &format!("to allow it: {grant}")]);
            }
        }
        session.console.result(table.to_string().trim_end())?;
    }
    Ok(if is_fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
