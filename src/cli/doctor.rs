//! `northgate doctor`.

use std::fmt::Write as _;
use std::path::Path;

use super::Said;
use crate::app;
use crate::config::Config;
use crate::doctor::{self, Area, Finding, Level};

/// Looks at the configuration and all that it names, and at a folder of dashboards if there is one, and says what is wrong and what to do.
///
/// # Errors
/// There are no threads to do it with.
pub fn doctor(path: &Path, dashboards: Option<&Path>, json: bool) -> Result<Said, String> {
    let mut found = examined(path)?;
    found.extend(dashboards.into_iter().flat_map(doctor::dashboards::findings));
    let failed = found.iter().any(|finding| finding.level == Level::Problem);
    let mut said = Said { failed, ..Said::default() };
    if json {
        said.out = serde_json::to_string_pretty(&found).map_err(|error| error.to_string())? + "\n";
        return Ok(said);
    }
    for finding in &found {
        let _ = writeln!(said.out, "{finding}");
    }
    let count = |level: Level| found.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let _ = writeln!(said.out, "{problems} problems, {warnings} warnings, {} in order", count(Level::Good));
    Ok(said)
}

fn examined(path: &Path) -> Result<Vec<Finding>, String> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            let remedy = "mend that; nothing else was looked at";
            return Ok(vec![Finding::problem(Area::Configuration, error.to_string(), remedy)]);
        }
    };
    let mut found = vec![match app::check(&config) {
        Ok(_) => Finding::good(
            Area::Configuration,
            format!("{}, the policies and what else it names can be read", path.display()),
        ),
        Err(error) => {
            Finding::problem(Area::Configuration, error.to_string(), "mend that: the gateway would not start")
        }
    }];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    found.extend(runtime.block_on(doctor::examine(&config)));
    Ok(found)
}
