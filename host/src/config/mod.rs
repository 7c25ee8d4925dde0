//! The project file: parsed, validated as a whole, and made into a plan.
//!
//! ```text
//!           tree                     parse               validate
//!  text ──────────▶ values with ──────────────▶ Project ──────────▶ Project, or everything
//!        variables,  their places  types, keys           names       that is wrong with it
//!        overrides
//! ```
//! Always true: no step stops at its first error; what is wrong is told all at once, each with its place.

pub mod diagnostics;
mod interpolate;
mod parse;
pub mod project;
mod section;
mod tree;
pub mod units;
pub mod validate;

use std::path::Path;

use diagnostics::{Diagnostics, SourceText};
use project::Project;
use section::Reports;

/// Reads a project file. `environment` gives the variables of `${NAME}`; an override sets such a variable where its
/// key is a plain upper-case name, and the value at a dotted path otherwise.
///
/// # Errors
/// Everything that is wrong with the file and the overrides.
pub fn read(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &[(String, String)],
) -> Result<(Project, SourceText), Diagnostics> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            read_text(&name, text, folder.unwrap_or(Path::new(".")), environment, overrides)
        }
        Err(error) => {
            let mut diagnostics = Diagnostics::new(SourceText::new(name, "", Vec::new()));
            diagnostics.error_of_file(format!("cannot be read: {error}"));
            Err(diagnostics)
        }
    }
}

/// As [`read`], of a text that is there already; `name` is what messages call it, and its paths start at `folder`.
///
/// # Errors
/// As [`read`].
pub fn read_text(
    name: &str,
    text: String,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &[(String, String)],
) -> Result<(Project, SourceText), Diagnostics> {
    let written = overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let source = SourceText::new(name, text, written);
    let mut diagnostics = Diagnostics::new(source.clone());
    let Some(root) = tree::parse(&source, environment, overrides, &mut diagnostics) else { return Err(diagnostics) };
    let reports = Reports::new(diagnostics);
    let (project, declared) = parse::project(root, folder, &reports);
    let mut diagnostics = reports.into_inner();
    validate::check(&project, &declared, &mut diagnostics);
    debug_assert!(!diagnostics.is_empty() || declared.all_in(&project), "what could not be read was reported");
    diagnostics.finish((project, source))
}

#[cfg(test)]
mod tests;
