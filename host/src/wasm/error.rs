//! Why a component cannot be loaded, or does not fit what it is bound to; in words for who wrote or configured it.

use arrow::datatypes::DataType;

use crate::engine::udf::CallError;
use crate::error::{Blame, Fault};
use crate::record::ColumnType;

/// Bytes that are not a component which this host can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Not WebAssembly.
    #[error("it is not a WebAssembly component: the file does not begin as one does")]
    NotWasm,
    /// A core module.
    #[error(
        "it is a core WebAssembly module, not a component: link it with `wasm-component-ld`, or make it one with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// It does not validate or compile.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// It wants more of the host than there is.
    #[error("it imports {}, which Millrace does not provide: a UDF may import only `millrace:feature/log@0.1.0`", listed(.0))]
    UnknownImports(Vec<String>),
    /// It exports the contract in a version that is not served.
    #[error("it exports {}, and this Millrace serves version 0.1 of the contract: build it against that `feature.wit`", listed(.0))]
    WrongVersion(Vec<String>),
    /// It exports none of the contract's interfaces.
    #[error(
        "it exports neither `millrace:feature/transform@0.1.0` nor `millrace:feature/aggregate@0.1.0`, but {}",
        if .0.is_empty() { "nothing".to_owned() } else { listed(.0) }
    )]
    WrongWorld(Vec<String>),
    /// An interface of the contract's name has other functions or types than the contract's.
    #[error("its {interface} is not the contract's: {reason}")]
    WrongShape {
        /// `transform` or `aggregate`.
        interface: &'static str,
        /// What differs.
        reason: String,
    },
    /// It could not be asked for its names.
    #[error("asked for the names it holds, it failed: {0}")]
    Names(CallError),
    /// What it answered is no list of names.
    #[error("it names its {interface}s badly: {reason}")]
    BadNames {
        /// `transform` or `aggregate`.
        interface: &'static str,
        /// What is wrong with them.
        reason: &'static str,
    },
}

impl Blame for ComponentError {
    fn fault(&self) -> Fault {
        Fault::User
    }
}

/// A component that does not fit the columns or options it is given, or is asked for what it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// It holds none of the kind.
    #[error("the component holds no {wanted}")]
    Absent {
        /// `transform` or `aggregate`.
        wanted: &'static str,
    },
    /// It holds several, and none was named.
    #[error(
        "the component holds several {wanted}s: name one of {}, as in `component = \"file.wasm#NAME\"`",
        listed(names)
    )]
    Several {
        /// `transform` or `aggregate`.
        wanted: &'static str,
        /// Those that it holds.
        names: Vec<String>,
    },
    /// It holds none of that name.
    #[error("the component holds no {wanted} `{name}`; it holds {}", listed(names))]
    Unknown {
        /// `transform` or `aggregate`.
        wanted: &'static str,
        /// The name that was asked for.
        name: String,
        /// Those that it holds.
        names: Vec<String>,
    },
    /// An input column has a type that cannot cross.
    #[error("column `{column}` is {}, which cannot be given to a UDF", described(kind))]
    ColumnType {
        /// The column.
        column: String,
        /// Its type, in Arrow's words.
        kind: DataType,
    },
    /// The guest says that columns or options do not fit.
    #[error("{0}")]
    Refused(String),
    /// Its signature wants a column that it was not given.
    #[error("it wants a column `{column}`, and is given {}", if given.is_empty() { "none".to_owned() } else { listed(given) })]
    MissingInput {
        /// The column.
        column: String,
        /// What it was given.
        given: Vec<String>,
    },
    /// Its signature is not one that the contract allows.
    #[error("its signature is wrong: {0}")]
    Signature(String),
    /// The call itself failed.
    #[error("binding it failed: {0}")]
    Call(CallError),
}

impl Blame for BindError {
    fn fault(&self) -> Fault {
        match self {
            Self::Call(error) => error.fault(),
            _ => Fault::User,
        }
    }
}

/// A type in the project file's words.
fn described(kind: &DataType) -> String {
    ColumnType::from_arrow(kind).map_or_else(|| kind.to_string(), |kind| kind.to_string())
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
