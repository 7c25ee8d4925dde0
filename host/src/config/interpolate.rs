//! `${NAME}` and `${NAME:-default}` in the values of a project file.
//!
//! As in a shell, the default also stands in for a variable that is there but empty. `$${` is a plain `${`. A value
//! that a variable gives is not read again, so that no variable can bring in another.

/// A value whose variables cannot be put in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InterpolateError {
    #[error(
        "variable `{0}` is not set: set it in the environment or with `--set {0}=VALUE`, or write a default, \
         `${{{0}:-VALUE}}`"
    )]
    NotSet(String),
    #[error("`${{` without a closing `}}`; for a plain `${{` write `$${{`")]
    NotClosed,
    #[error("`{0}` cannot be the name of a variable: letters, digits and `_`, no digit first")]
    BadName(String),
}

/// Whether `text` can be the name of an environment variable.
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The text with its variables put in; none where it has none.
pub(super) fn interpolate(
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, InterpolateError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            result.push_str(escaped);
            result.push_str("${");
            rest = after;
            continue;
        }
        result.push_str(before);
        let (inside, next) = after.split_once('}').ok_or(InterpolateError::NotClosed)?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable(name) {
            return Err(InterpolateError::BadName(name.to_owned()));
        }
        match (lookup(name), default) {
            (Some(value), None) => result.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => result.push_str(&value),
            (_, Some(default)) => result.push_str(default),
            (None, None) => return Err(InterpolateError::NotSet(name.to_owned())),
        }
        rest = next;
    }
    result.push_str(rest);
    Ok(Some(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<String>, String> {
        let mut lookup = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        interpolate(text, &mut lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_put_in() {
        let put = |text| read(text).unwrap().unwrap();
        assert_eq!(read("price $5"), Ok(None));
        assert_eq!(put("${A}"), "alpha");
        assert_eq!(put("<${A:-x}|${B:-beta}|${B:-}>"), "<alpha|beta|>");
        assert_eq!(put("${EMPTY:-default}${EMPTY}"), "default");
        assert_eq!(put("${NESTED}"), "${A}");
        assert_eq!(put("$${A} costs ${A}"), "${A} costs alpha");
    }

    #[test]
    fn what_cannot_be_put_in_says_why() {
        assert_eq!(
            read("${B}").unwrap_err(),
            "variable `B` is not set: set it in the environment or with `--set B=VALUE`, or write a default, \
             `${B:-VALUE}`"
        );
        assert_eq!(read("${A").unwrap_err(), "`${` without a closing `}`; for a plain `${` write `$${`");
        assert_eq!(
            read("${a b}").unwrap_err(),
            "`a b` cannot be the name of a variable: letters, digits and `_`, no digit first"
        );
    }
}
