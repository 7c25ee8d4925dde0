//! What every error of Millrace says beside its text: whose fault it is, whether trying again helps, and where it
//! happened.
//!
//! Each layer has an error enum of its own; all of them implement [`Blame`]. Retry policies, dead letters and HTTP
//! statuses read [`Blame`], never the text of a message. The idea is DataFusion's: an error's variant says whose fault
//! it is.

use std::fmt;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The project file, a command line, a request or a UDF is wrong: its author can mend it.
    User,
    /// One event is wrong: it becomes a dead letter and the rest goes on.
    Data,
    /// A broker, a store, a disk or the network does not answer as it should.
    External,
    /// Millrace itself is wrong: please report it.
    Internal,
}

/// What a retry policy needs to know of an error.
pub trait Blame {
    /// Whose fault it is.
    fn fault(&self) -> Fault;

    /// Whether the same call may succeed later with nothing changed here.
    fn retry_helps(&self) -> bool {
        self.fault() == Fault::External
    }
}

/// Where something happened; parts that are not known are left out of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The feature view, by name.
    pub view: Option<String>,
    /// The source, by name.
    pub source: Option<String>,
    /// The source's partition.
    pub partition: Option<u32>,
    /// The offset within the partition: Kafka's own, a byte position of a file, a sequence number.
    pub offset: Option<i64>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |out: &mut fmt::Formatter<'_>, name: &str, value: Option<String>| match value {
            Some(value) => {
                let written = write!(out, "{separator}{name} {value}");
                separator = ", ";
                written
            }
            None => Ok(()),
        };
        part(out, "view", self.view.clone())?;
        part(out, "source", self.source.clone())?;
        part(out, "partition", self.partition.map(|p| p.to_string()))?;
        part(out, "offset", self.offset.map(|o| o.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_what_is_known() {
        let place = Place { source: Some("cards".into()), offset: Some(7), ..Place::default() };
        assert_eq!(place.to_string(), "source cards, offset 7");
        assert_eq!(Place::default().to_string(), "");
    }
}
