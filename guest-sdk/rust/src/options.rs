//! Options: the JSON object that a project gives, as a typed struct.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What a project may set. `#[options]` on a struct implements it, with kebab-case names, unknown ones refused.
pub trait Options: DeserializeOwned + 'static {
    /// A table that would be right, for error messages: `{ half-life = "5m" }`.
    const EXAMPLE: &'static str = "";

    /// Refuses values that the types let pass.
    ///
    /// # Errors
    /// Why these options cannot be.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The options of a UDF that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

impl Options for NoOptions {}

/// Reads and checks the options that `bind` is given.
pub(crate) fn parse<O: Options>(json: &str) -> Result<O, String> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let parsed = serde_json::from_str::<O>(json).map_err(|error| {
        let text = error.to_string();
        // The author of a project file has TOML before them: places in the JSON made of it mislead.
        text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(&text).to_owned()
    });
    parsed.and_then(|options| options.check().map(|()| options)).map_err(|error| {
        if O::EXAMPLE.is_empty() {
            format!("options: {error}")
        } else {
            format!("options: {error}; for example options = {}", O::EXAMPLE)
        }
    })
}
