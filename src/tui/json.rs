//! JSON documents as a tree of lines that can be folded. Reads bytes; knows no screen.

use crate::model::text;
use crate::tui::widgets::tree::Forest;
use serde_json::Value;

/// One line of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// The key or index, safe; empty at the top.
    pub key: String,
    /// A scalar as written, safe; empty for objects and arrays.
    pub value: String,
    /// What sort of value.
    pub sort: Sort,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// Sorts of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A document's title.
    Title,
    /// `{..}`
    Object,
    /// `[..]`
    Array,
    /// `"..."`
    Text,
    /// A number, `true`, `false` or `null`.
    Other,
}

/// Documents one below the other.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// The documents as text, for the pager.
    pub source: String,
}

/// Longest value shown in a line, in bytes.
const VALUE: usize = 1024;
/// Most lines shown of what is no JSON.
const LINES: usize = 1000;

impl Tree {
    /// Adds the document in `bytes` under `title`, which must be safe. What is no JSON is added line by line.
    pub fn add(&mut self, title: &str, bytes: &[u8]) {
        match serde_json::from_slice(bytes) {
            Ok(value) => self.add_value(title, &value),
            Err(why) => {
                let why = text::safe(&why.to_string()).into_owned();
                let root = self.add_problem(title, &format!("no JSON that can be shown: {why}"));
                for (at, line) in bytes.split(|b| *b == b'\n').take(LINES).enumerate() {
                    let line = text::safe_within(&String::from_utf8_lossy(line), VALUE).into_owned();
                    self.child(root, (at + 1).to_string(), line, Sort::Text);
                }
                self.source.push_str(&format!("{title}\n{}\n\n", String::from_utf8_lossy(bytes)));
            }
        }
    }

    /// Adds a title under which there is no document, and why. Both must be safe.
    pub fn add_problem(&mut self, title: &str, why: &str) -> usize {
        let root = self.node(title.to_owned(), format!("  {why}"), Sort::Title);
        self.roots.push(root);
        root
    }

    fn add_value(&mut self, title: &str, value: &Value) {
        let root = self.node(title.to_owned(), String::new(), Sort::Title);
        self.roots.push(root);
        // Depth is bounded by serde_json's own limit, but a stack costs nothing.
        let mut stack = vec![(root, String::new(), value)];
        while let Some((parent, key, value)) = stack.pop() {
            let (shown, sort) = match value {
                Value::Object(_) => (String::new(), Sort::Object),
                Value::Array(_) => (String::new(), Sort::Array),
                Value::String(string) => (text::safe_within(string, VALUE).into_owned(), Sort::Text),
                other => (other.to_string(), Sort::Other),
            };
            let node = if parent == root && key.is_empty() { root } else { self.child(parent, key, shown, sort) };
            match value {
                Value::Object(map) => {
                    let entries = map.iter().rev().map(|(key, value)| (node, text::safe(key).into_owned(), value));
                    stack.extend(entries);
                }
                Value::Array(list) => {
                    stack.extend(list.iter().enumerate().rev().map(|(at, value)| (node, at.to_string(), value)));
                }
                _ => {}
            }
        }
        let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
        self.source.push_str(&format!("{title}\n{pretty}\n\n"));
    }

    fn node(&mut self, key: String, value: String, sort: Sort) -> usize {
        self.nodes.push(Node { key, value, sort, parent: None, children: Vec::new() });
        self.nodes.len() - 1
    }

    fn child(&mut self, parent: usize, key: String, value: String, sort: Sort) -> usize {
        let node = self.node(key, value, sort);
        self.nodes[node].parent = Some(parent);
        self.nodes[parent].children.push(node);
        node
    }

    /// Line `node`.
    pub fn get(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Lines there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether `node` holds so much that it is better folded at first.
    pub fn is_long(&self, node: usize) -> bool {
        self.nodes[node].children.len() > 40
    }

    /// What is inside `node`, in a few words.
    pub fn summary(&self, node: usize) -> String {
        let count = self.nodes[node].children.len();
        match self.nodes[node].sort {
            Sort::Object if count == 0 => "{}".to_owned(),
            Sort::Array if count == 0 => "[]".to_owned(),
            Sort::Object => format!("{{{count}}}"),
            Sort::Array => format!("[{count}]"),
            _ => String::new(),
        }
    }

    /// The path of keys that leads to `node`: `layers.3.blob`.
    pub fn path(&self, node: usize) -> String {
        let up = std::iter::successors(Some(node), |&at| self.nodes[at].parent);
        let mut keys: Vec<&str> =
            up.map(|at| &self.nodes[at]).filter(|n| n.parent.is_some()).map(|n| n.key.as_str()).collect();
        keys.reverse();
        keys.join(".")
    }
}

impl Forest for Tree {
    fn roots(&self) -> Vec<usize> {
        self.roots.clone()
    }

    fn children(&self, node: usize) -> &[usize] {
        &self.nodes[node].children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_lines_in_their_own_order() {
        let mut tree = Tree::default();
        tree.add("config", br#"{"layers":[{"blob":"x","parent":-1}],"b\u001b":null}"#);
        let keys: Vec<&str> = (0..tree.len()).map(|n| tree.get(n).key.as_str()).collect();
        assert_eq!(keys, ["config", "layers", "0", "blob", "parent", r"b\x1b"]);
        assert_eq!(tree.path(3), "layers.0.blob");
        assert_eq!((tree.summary(1), tree.get(4).value.as_str()), ("[1]".into(), "-1"));
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is_written() {
        let mut tree = Tree::default();
        tree.add("config", b"{\n\x1b[31mred");
        let lines: Vec<(&str, &str)> = (0..3).map(|n| (tree.get(n).key.as_str(), tree.get(n).value.as_str())).collect();
        assert_eq!((lines[1], lines[2]), (("1", "{"), ("2", r"\x1b[31mred")));
        assert!(lines[0].1.contains("no JSON that can be shown"), "{}", lines[0].1);
    }
}
