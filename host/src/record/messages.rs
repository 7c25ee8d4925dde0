//! Messages for a topic: keys and values, one behind the other in one buffer.

use std::ops::Range;

/// Messages in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    data: Vec<u8>,
    spans: Vec<Spans>,
}

/// Where a message's key and value lie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spans {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

/// A message: it may lack a key, and one without a value says that its key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl Message<'_> {
    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

impl Messages {
    /// Adds one.
    pub fn push(&mut self, message: Message<'_>) {
        let mut put = |bytes: &[u8]| {
            let start = self.data.len();
            self.data.extend_from_slice(bytes);
            start..self.data.len()
        };
        let key = message.key.map(&mut put);
        let value = message.value.map(&mut put);
        self.spans.push(Spans { key, value });
    }

    /// Adds one whose key and value are what each of these appends to the buffer; a key's says whether there is one.
    pub fn push_with(&mut self, key: impl FnOnce(&mut Vec<u8>) -> bool, value: Option<impl FnOnce(&mut Vec<u8>)>) {
        let start = self.data.len();
        let there = key(&mut self.data);
        if !there {
            self.data.truncate(start);
        }
        let middle = self.data.len();
        let value = value.map(|write| {
            write(&mut self.data);
            middle..self.data.len()
        });
        self.spans.push(Spans { key: there.then_some(start..middle), value });
    }

    /// Takes the last one back.
    pub fn pop(&mut self) {
        self.spans.pop();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        let bytes = |span: &Option<Range<usize>>| span.clone().and_then(|span| self.data.get(span));
        let spans = self.spans.get(index)?;
        Some(Message { key: bytes(&spans.key), value: bytes(&spans.value) })
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back() {
        let mut messages = Messages::default();
        let written = [
            Message { key: Some(b"k"), value: Some(b"value") },
            Message { key: None, value: Some(b"") },
            Message { key: Some(b""), value: None },
            Message { key: None, value: None },
        ];
        written.iter().for_each(|message| messages.push(*message));
        messages.push_with(
            |out| {
                out.extend_from_slice(b"none after all");
                false
            },
            Some(|out: &mut Vec<u8>| out.extend_from_slice(b"v")),
        );
        let mut all = written.to_vec();
        all.push(Message { key: None, value: Some(b"v") });
        assert!(messages.iter().eq(all));
        messages.pop();
        assert_eq!((messages.len(), messages.get(4)), (4, None));
        assert_eq!(messages.iter().map(|message| message.length()).collect::<Vec<_>>(), [6, 0, 0, 0]);
    }
}
