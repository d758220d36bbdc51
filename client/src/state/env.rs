//! The environment variables a tool looks at, as a value.
//!
//! Answers for one thing: that what a tool finds in its environment can be given by a test as well, since a process
//! cannot change its own environment soundly. Never writes a variable.

use std::collections::BTreeMap;

/// Where variables are looked up: the process, or a fixed table.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    fixed: Option<BTreeMap<String, String>>,
}

impl Environment {
    /// The variables of this process.
    pub fn process() -> Self {
        Self { fixed: None }
    }

    /// No variable at all.
    pub fn empty() -> Self {
        Self {
            fixed: Some(BTreeMap::new()),
        }
    }

    /// Exactly these variables.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let fixed = pairs
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Self { fixed: Some(fixed) }
    }

    /// The variable `name`; one that is empty or not UTF-8 counts as not set.
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.fixed {
            Some(table) => table.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|v| !v.is_empty())
    }
}
