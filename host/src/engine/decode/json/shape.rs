//! What is wanted of an event's JSON, as a tree that is walked while the text is read.
//!
//! Always true: every value goes to one place at most, so that one reading is enough. Where two columns want the same
//! value, or one wants what is inside another's, there are two shapes, and the text is read once for each.

use hashbrown::HashMap;

use super::super::path::{Path, Step};

/// What a value is for.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nobody wants it.
    Nothing,
    /// It is a column's value.
    Column(Leaf),
    /// Something in it is wanted.
    Inner(Box<Inner>),
}

/// A column, or the items of the list that a column is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) column: usize,
    pub(super) item: bool,
}

/// What is wanted in a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) object: Option<Object>,
    pub(super) array: Option<Array>,
    /// Where it is, for messages; empty for the event as a whole.
    pub(super) place: String,
    /// Whether it is the row.
    pub(super) row: bool,
}

/// The members that are wanted of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    ordered: Vec<Box<str>>,
    index: HashMap<Box<str>, usize>,
    members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    /// All columns that are filled by it or by something in it.
    pub(super) below: Vec<Leaf>,
}

/// The items that are wanted of an array.
#[derive(Clone, Debug)]
pub(super) struct Array {
    items: Vec<Node>,
    rest: Node,
    /// The columns whose lists have an item for each of this array's.
    pub(super) lists: Vec<usize>,
}

/// The place is another column's.
struct Taken;

/// The shapes that fill a column from each of `paths`, all of which begin with `row`.
pub(super) fn shapes(row: &Path, paths: &[Path]) -> Vec<Node> {
    let mut shapes = vec![Node::root(row)];
    for (column, path) in paths.iter().enumerate() {
        let leaf = Leaf { column, item: false };
        let fits = shapes.iter_mut().any(|shape| {
            let mut grown = shape.clone();
            let inserted = grown.insert(path.steps(), leaf, String::from("$"));
            inserted.is_ok_and(|()| {
                *shape = grown;
                true
            })
        });
        if !fits {
            let mut shape = Node::root(row);
            // Nothing else is there to be in the way.
            if shape.insert(path.steps(), leaf, String::from("$")).is_ok() {
                shapes.push(shape);
            }
        }
    }
    shapes
}

impl Node {
    /// A value that must have the row at `row`, and of which nothing else is wanted yet.
    fn root(row: &Path) -> Self {
        let mut root = Inner { row: row.steps().is_empty(), ..Inner::default() };
        if root.row {
            root.object = Some(Object::default());
        }
        let mut node = Self::Inner(Box::new(root));
        node.mark(row.steps(), String::from("$"));
        node
    }

    /// Makes what `steps` lead to the row.
    fn mark(&mut self, steps: &[Step], place: String) {
        let Self::Inner(inner) = self else { return };
        let Some((step, rest)) = steps.split_first() else {
            inner.row = true;
            inner.object.get_or_insert_default();
            return;
        };
        let place = beyond(place, step);
        let next = match step {
            Step::Member(name) => inner.object.get_or_insert_default().member(name).map(|member| &mut member.node),
            Step::Index(index) => inner.array.get_or_insert_default().item(usize::from(*index)),
            // A row is one.
            Step::Each => None,
        };
        if let Some(next) = next {
            *next = Self::Inner(Box::new(Inner { place: place.clone(), ..Inner::default() }));
            next.mark(rest, place);
        }
    }

    fn insert(&mut self, steps: &[Step], leaf: Leaf, place: String) -> Result<(), Taken> {
        let Some((step, rest)) = steps.split_first() else {
            return match self {
                Self::Nothing => {
                    *self = Self::Column(leaf);
                    Ok(())
                }
                _ => Err(Taken),
            };
        };
        if matches!(self, Self::Nothing) {
            *self = Self::Inner(Box::new(Inner { place: place.clone(), ..Inner::default() }));
        }
        let Self::Inner(inner) = self else { return Err(Taken) };
        let place = beyond(place, step);
        match step {
            Step::Member(name) => {
                let member = inner.object.get_or_insert_default().member(name).ok_or(Taken)?;
                member.below.push(leaf);
                member.node.insert(rest, leaf, place)
            }
            Step::Index(index) => {
                let array = inner.array.get_or_insert_default();
                array.item(usize::from(*index)).ok_or(Taken)?.insert(rest, leaf, place)
            }
            Step::Each => {
                let array = inner.array.get_or_insert_default();
                array.lists.push(leaf.column);
                let leaf = Leaf { item: true, ..leaf };
                let mut nodes = array.items.iter_mut().chain([&mut array.rest]);
                nodes.try_for_each(|node| node.insert(rest, leaf, place.clone()))
            }
        }
    }
}

/// A place one step further.
fn beyond(place: String, step: &Step) -> String {
    match step {
        Step::Member(name) => place + "." + name,
        Step::Index(index) => format!("{place}[{index}]"),
        Step::Each => place + "[*]",
    }
}

impl Object {
    /// The member of that name, made if it lacks.
    fn member(&mut self, name: &str) -> Option<&mut Member> {
        let next = self.members.len();
        let index = *self.index.entry(name.into()).or_insert(next);
        if index == next {
            self.ordered.push(name.into());
            self.members.push(Member { node: Node::Nothing, below: Vec::new() });
        }
        self.members.get_mut(index)
    }

    /// The member `name`, which is probably number `expected`.
    #[inline]
    pub(super) fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.ordered.get(expected) {
            Some(next) if **next == *name => Some(expected),
            _ => self.index.get(name).copied(),
        }
    }

    #[inline]
    pub(super) fn get(&self, member: usize) -> Option<&Member> {
        self.members.get(member)
    }
}

impl Default for Array {
    fn default() -> Self {
        Self { items: Vec::new(), rest: Node::Nothing, lists: Vec::new() }
    }
}

impl Array {
    /// The item at `index` as one of its own; until now it was like all the rest.
    fn item(&mut self, index: usize) -> Option<&mut Node> {
        while self.items.len() <= index {
            self.items.push(self.rest.clone());
        }
        self.items.get_mut(index)
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        self.items.get(index).unwrap_or(&self.rest)
    }
}
