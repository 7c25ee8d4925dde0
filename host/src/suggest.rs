//! "Did you mean": the known name nearest to a wrong one, for every message about a name.

/// The known name nearest to a wrong one, if it is near enough to be what was meant: a third of its letters changed, or
/// more left out at the end.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance * 3 <= wrong.chars().count().max(name.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| *name);
    near.or_else(|| known.into_iter().find(|name| wrong.len() >= 3 && name.to_lowercase().starts_with(&wrong)))
}

/// The end of a message about an unknown name: the nearest known one, or all where none is near and they are few.
pub fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// More names than this help nobody.
    const FEW: usize = 24;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(name) = nearest(wrong, known.iter().copied()) {
        return format!("; did you mean `{name}`?");
    }
    match known.len() {
        0 => String::new(),
        1..=FEW => format!("; known: {}", known.join(", ")),
        _ => String::new(),
    }
}
