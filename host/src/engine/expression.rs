//! SQL expressions over a batch's columns, by DataFusion: `where`, derived columns and what features fold.
//!
//! Names are case-sensitive as written. An expression is pure: aggregates, subqueries and functions that depend on the
//! clock or on chance are refused, since time is a column and a replay must agree. Results have one of the types of
//! [`ColumnType`]: text as utf8, narrower and unsigned integers as int64, decimals as float64, times in microseconds UTC.
//! `list[1]` and `map['key']` are null where there is no such item or key.
//!
//! A row on which an expression fails, such as a division by zero, is found by halving and costs that row alone.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, SchemaError, TableReference, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use datafusion_optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Blame, Fault};
use crate::record::{ColumnType, timestamp_type};
use crate::suggest::suggestion;

/// An expression that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, and what to try.
    pub message: String,
    /// Where in the text, in bytes, if that is known.
    pub span: Option<Range<usize>>,
    /// The column that is not there, where that is what is wrong.
    pub missing: Option<String>,
}

impl Blame for ExpressionError {
    fn fault(&self) -> Fault {
        Fault::User
    }
}

/// A compiled expression. Cheap to clone, and shared between threads.
#[derive(Clone, Debug)]
pub struct Expression {
    sql: Arc<str>,
    plan: Plan,
    kind: DataType,
    nullable: bool,
    columns: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Plan {
    /// A column as it is.
    Column(usize),
    /// Anything else; its result is cast where it has a type that is none of ours.
    Computed(Arc<dyn PhysicalExpr>),
}

impl Expression {
    /// Compiles `sql` over the columns of `schema`.
    ///
    /// # Errors
    /// It does not parse, names what is not there, or does what an expression may not do.
    pub fn compile(sql: &str, schema: &SchemaRef) -> Result<Self, ExpressionError> {
        let columns = DFSchema::try_from(schema.clone()).map_err(|error| plain(error.to_string()))?;
        let expression = parse(sql, &columns, schema)?;
        check_pure(&expression)?;
        let failed = |error: DataFusionError| explain(&error, sql, schema);
        let columns_used = expression.column_refs().into_iter().map(|column| column.name.clone()).collect();
        if let Expr::Column(column) = &expression
            && let Some(plain) = Self::column(&column.name, schema)
        {
            return Ok(Self { sql: sql.into(), ..plain });
        }
        let context = SimplifyContext::builder().with_schema(Arc::new(columns.clone())).build();
        let simplifier = ExprSimplifier::new(context);
        let expression = simplifier.coerce(expression, &columns).map_err(failed)?;
        let expression = simplifier.simplify(expression).map_err(failed)?;
        let props = ExecutionProps::new();
        let physical = create_physical_expr(&expression, &columns, &props, &PhysicalPlanningContext::default());
        let physical = physical.map_err(failed)?;
        let given = physical.data_type(schema).map_err(failed)?;
        let kind = ours(&given).ok_or_else(|| plain(format!("`{sql}` is {given}, a type that no column can have")))?;
        let nullable = physical.nullable(schema).unwrap_or(true);
        Ok(Self { sql: sql.into(), plan: Plan::Computed(physical), kind, nullable, columns: columns_used })
    }

    /// The column of that name, as it is; none where there is none.
    pub fn column(name: &str, schema: &Schema) -> Option<Self> {
        let (index, field) = schema.column_with_name(name)?;
        Some(Self {
            sql: name.into(),
            plan: Plan::Column(index),
            kind: field.data_type().clone(),
            nullable: field.is_nullable(),
            columns: BTreeSet::from([name.to_owned()]),
        })
    }

    /// The text that it was compiled from.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The type of its values.
    pub fn data_type(&self) -> &DataType {
        &self.kind
    }

    /// Whether a value may be null.
    pub fn nullable(&self) -> bool {
        self.nullable
    }

    /// The names of the columns that it reads.
    pub fn columns(&self) -> BTreeSet<String> {
        self.columns.clone()
    }

    /// Its value for every row of a batch of the schema that it was compiled for.
    ///
    /// # Errors
    /// It fails on a row; which one is not known.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, String> {
        match &self.plan {
            Plan::Column(index) => batch.columns().get(*index).cloned().ok_or_else(|| "a column is missing".to_owned()),
            Plan::Computed(physical) => {
                let value = physical.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
                let value = value.map_err(|error| first_line(&error))?;
                if *value.data_type() == self.kind {
                    return Ok(value);
                }
                cast(&value, &self.kind).map_err(|error| error.to_string())
            }
        }
    }

    /// Its value for every row; null for rows on which it fails, which come beside it, ascending, with the reason.
    pub fn evaluate_rows(&self, batch: &RecordBatch) -> (ArrayRef, Vec<(u32, String)>) {
        match self.evaluate(batch) {
            Ok(values) => (values, Vec::new()),
            Err(error) => self.halve(batch, error),
        }
    }

    /// For which rows it is true (null is not), and the rows on which it fails, for which it is not.
    pub fn predicate(&self, batch: &RecordBatch) -> (BooleanArray, Vec<(u32, String)>) {
        let (values, errors) = self.evaluate_rows(batch);
        let Some(flags) = values.as_boolean_opt() else {
            return (BooleanArray::from(vec![false; batch.num_rows()]), errors);
        };
        match flags.nulls() {
            None => (flags.clone(), errors),
            Some(valid) => (BooleanArray::new(flags.values() & valid.inner(), None), errors),
        }
    }

    /// Evaluates each half of a batch on which it failed, down to the rows at fault.
    fn halve(&self, batch: &RecordBatch, error: String) -> (ArrayRef, Vec<(u32, String)>) {
        let mut errors = Vec::new();
        let mut parts: Vec<ArrayRef> = Vec::new();
        let mut ahead = vec![(0..batch.num_rows(), Some(error))];
        while let Some((range, failed)) = ahead.pop() {
            let failed = match failed {
                Some(error) => Err(error),
                None => self.evaluate(&batch.slice(range.start, range.len())),
            };
            match failed {
                Ok(values) => parts.push(values),
                Err(_) if range.len() > 1 => {
                    let middle = range.start.midpoint(range.end);
                    ahead.push((middle..range.end, None));
                    ahead.push((range.start..middle, None));
                }
                Err(error) => {
                    errors.push((u32::try_from(range.start).unwrap_or(u32::MAX), error));
                    parts.push(new_null_array(&self.kind, range.len()));
                }
            }
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        (concat(&parts).unwrap_or_else(|_| new_null_array(&self.kind, batch.num_rows())), errors)
    }
}

/// The words of an expression: names of columns and functions, and what else is written like one.
pub fn words(sql: &str) -> BTreeSet<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    let word = |token| match token {
        Token::Word(word) => Some(word.value),
        _ => None,
    };
    tokens.into_iter().filter_map(word).collect()
}

fn parse(sql: &str, columns: &DFSchema, schema: &Schema) -> Result<Expr, ExpressionError> {
    let failed = |error: DataFusionError| explain(&error, sql, schema);
    let mut parser = DFParserBuilder::new(sql).build().map_err(failed)?;
    let parsed = parser.parse_into_expr().map_err(failed)?;
    if let Some(alias) = parsed.alias {
        return Err(plain(format!("`{alias}` names the result; the project file does that")));
    }
    let options = ParserOptions {
        enable_ident_normalization: false,
        map_string_types_to_utf8view: false,
        ..ParserOptions::new()
    };
    let planner = SqlToRel::new_with_options(&*FUNCTIONS, options);
    planner.sql_to_expr(parsed.expr, columns, &mut PlannerContext::new()).map_err(failed)
}

/// An expression must give the same at every replay.
fn check_pure(expression: &Expr) -> Result<(), ExpressionError> {
    let mut refused = None;
    let walked = expression.apply(|part| {
        refused = match part {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => Some(format!(
                "{}() gives another value each time; time is a column: use event_timestamp",
                call.func.name()
            )),
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                Some("an aggregate belongs into `features`, as in { aggregate = \"sum\", of = \"amount\" }".to_owned())
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("a subquery has nothing to read here".to_owned())
            }
            _ => None,
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (refused, walked) {
        (Some(message), _) => Err(plain(message)),
        (None, Err(error)) => Err(plain(first_line(&error))),
        (None, Ok(_)) => Ok(()),
    }
}

/// The column type that a result becomes; none where it fits none.
fn ours(given: &DataType) -> Option<DataType> {
    if let Some(kind) = ColumnType::from_arrow(given) {
        return Some(kind.arrow());
    }
    Some(match given {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new_list_field(ours(item.data_type())?, true)))
        }
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            DataType::Int64
        }
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            DataType::Float64
        }
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => timestamp_type(),
        _ => return None,
    })
}

fn plain(message: String) -> ExpressionError {
    ExpressionError { message, span: None, missing: None }
}

/// DataFusion's errors in the project's words.
fn explain(error: &DataFusionError, sql: &str, schema: &Schema) -> ExpressionError {
    match error.find_root() {
        DataFusionError::SchemaError(problem, _) => match problem.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                let name = &field.name;
                let known = suggestion(name, schema.fields().iter().map(|field| field.name().as_str()));
                let span = sql.find(name.as_str()).map(|start| start..start + name.len());
                let message = format!("no column `{name}` here{known}");
                ExpressionError { message, span, missing: Some(name.clone()) }
            }
            other => plain(other.to_string()),
        },
        other => plain(format!("`{sql}`: {}", first_line(other))),
    }
}

/// An error's own words, without DataFusion's prefix and without the backtrace that may follow.
fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text.lines().next().unwrap_or_default();
    ["Error during planning: ", "Arrow error: ", "Execution error: ", "SQL error: "]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text))
        .to_owned()
}

/// Functions of lists whose result is as long as a number in a row says.
const UNBOUNDED: [&str; 4] = ["range", "generate_series", "array_repeat", "array_resize"];

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);

/// The functions that an expression may call.
struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Functions {
    fn new() -> Self {
        let mut scalar = HashMap::new();
        let nested = datafusion_functions_nested::all_default_nested_functions();
        let nested = nested.into_iter().filter(|function| !UNBOUNDED.contains(&function.name()));
        for function in datafusion_functions::all_default_functions().into_iter().chain(nested) {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), function.clone());
            }
            scalar.insert(function.name().to_owned(), function);
        }
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(NestedFunctionPlanner),
            Arc::new(FieldAccessPlanner),
            Arc::new(CoreFunctionPlanner::default()),
            Arc::new(DatetimeFunctionPlanner),
            Arc::new(UnicodeFunctionPlanner),
        ];
        Self { scalar, planners, options: ConfigOptions::default() }
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        plan_err!("there is no table {name} here: an expression reads the columns of one row")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(name).or_else(|| self.scalar.get(&name.to_lowercase())).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float64Array, Float64Builder, Int64Array, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringArray,
        StringBuilder,
    };
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;
    use crate::record::{event_timestamp_field, timestamps};

    fn batch() -> RecordBatch {
        let fields = [
            Field::new("amount", DataType::Float64, true),
            Field::new("Count", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ];
        let mut fields: Vec<_> = fields.into_iter().map(Arc::new).collect();
        fields.push(event_timestamp_field());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-2.0)])),
            Arc::new(Int64Array::from(vec![2, 0, 5])),
            Arc::new(StringArray::from(vec!["Aldi", "KÄSE", "x"])),
            timestamps(&vec![0, 1, 2].into()),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn compile(sql: &str) -> Result<Expression, ExpressionError> {
        Expression::compile(sql, &batch().schema())
    }

    #[test]
    fn expressions_compute() {
        let sum = compile("amount * 100 + Count").unwrap();
        assert_eq!(sum.data_type(), &DataType::Float64);
        assert_eq!(sum.columns(), BTreeSet::from(["amount".to_owned(), "Count".to_owned()]));
        let values = sum.evaluate(&batch()).unwrap();
        assert_eq!(values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(152.0), None, Some(-195.0)]);
        let lower = compile("lower(name)").unwrap().evaluate(&batch()).unwrap();
        assert_eq!(lower.as_string::<i32>().value(1), "käse");
        let constant = compile("1").unwrap().evaluate(&batch()).unwrap();
        assert_eq!(constant.as_primitive::<Int64Type>().values(), &[1, 1, 1]);
        assert!(matches!(compile("event_timestamp").unwrap().plan, Plan::Column(3)));
        assert_eq!(compile("character_length(name)").unwrap().data_type(), &DataType::Int32);
    }

    #[test]
    fn a_predicate_is_true_or_not() {
        let (flags, errors) = compile("amount > 0").unwrap().predicate(&batch());
        assert_eq!((flags.iter().flatten().collect::<Vec<_>>(), errors), (vec![true, false, false], vec![]));
    }

    #[test]
    fn a_row_that_fails_costs_that_row_alone() {
        let (values, errors) = compile("10 / Count").unwrap().evaluate_rows(&batch());
        assert_eq!(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(5), None, Some(2)]);
        assert_eq!(errors, [(1, "Divide by zero error".to_owned())]);
    }

    #[test]
    fn lists_and_maps_are_read_by_place_and_key() {
        let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Float64Builder::new());
        let mut lists = ListBuilder::new(Int64Builder::new());
        for value in [Some(100.0), None] {
            maps.keys().append_value("Alex");
            maps.values().append_option(value);
            maps.append(true).unwrap();
            lists.append_value([Some(7), Some(8)]);
        }
        maps.keys().append_value("Emma");
        maps.values().append_value(3.0);
        maps.append(true).unwrap();
        lists.append_value([Some(9)]);
        maps.append(false).unwrap();
        lists.append_null();
        let columns: Vec<(&str, ArrayRef)> =
            vec![("avg_cost_map", Arc::new(maps.finish())), ("list", Arc::new(lists.finish()))];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let evaluated = |sql: &str| {
            let compiled = Expression::compile(sql, &batch.schema()).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let values = compiled.evaluate(&batch).unwrap();
            assert_eq!(values.data_type(), compiled.data_type(), "{sql}");
            values
        };
        let floats = |sql: &str| evaluated(sql).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
        let integers = |sql: &str| evaluated(sql).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!(floats("avg_cost_map['Alex']"), [Some(100.0), None, None, None]);
        assert_eq!(floats("avg_cost_map['Alex'] / 4"), [Some(25.0), None, None, None]);
        assert_eq!(integers("list[2]"), [Some(8), Some(8), None, None]);
        assert_eq!(integers("array_length(list)"), [Some(2), Some(2), Some(1), None]);
        assert_eq!(integers("list[-1]"), [Some(8), Some(8), Some(9), None]);
        let keys = evaluated("map_keys(avg_cost_map)");
        assert_eq!(
            ColumnType::from_arrow(keys.data_type()).map(|kind| kind.to_string()).as_deref(),
            Some("list<utf8>")
        );
        let made = evaluated("[1, 2.5]");
        assert_eq!(ColumnType::from_arrow(made.data_type()).map(|kind| kind.arrow()).as_ref(), Some(made.data_type()));
        assert_eq!(evaluated("avg_cost_map").data_type(), batch.schema().field(0).data_type());
        assert!(Expression::compile("array_repeat(1, list[1])", &batch.schema()).is_err());
    }

    #[test]
    fn what_cannot_be_is_said() {
        let message = |sql: &str| compile(sql).unwrap_err().message;
        assert_eq!(message("amuont + 1"), "no column `amuont` here; did you mean `amount`?");
        assert_eq!(compile("1 + amuont").unwrap_err().span, Some(4..10));
        assert_eq!(message("count"), "no column `count` here; did you mean `Count`?");
        assert!(message("random()").contains("another value each time"), "{}", message("random()"));
        assert!(message("now()").contains("time is a column"), "{}", message("now()"));
        assert!(message("sum(amount)").contains("sum"), "{}", message("sum(amount)"));
        assert!(message("(select 1)").contains("subquery"), "{}", message("(select 1)"));
        assert!(message("amount +").starts_with("`amount +`: "), "{}", message("amount +"));
        assert!(message("amount as x").contains("names the result"), "{}", message("amount as x"));
    }
}
