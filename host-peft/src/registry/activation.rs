//! Changing what is active: two files, one change.
//!
//! Answers for a change that is there whole or not at all for every reader, whenever this program dies:
//!
//! 1. `active.intent` says what was and what will be.
//! 2. `active_state.toml` goes away. A reader without it takes `active` alone, which is still what was.
//! 3. `active` is replaced. From here on the change has happened.
//! 4. `active_state.toml` appears again, with what is now.
//! 5. The hive is told, by the caller, who then [settles](Registry::settle) (the intent goes away) or
//!    [reverts](Registry::revert) (the same steps, back).
//!
//! A registry that is opened with an intent in it is repaired: before step 3 it is as it was, afterwards as it will be.
//! Then the hive may not have been told, and the change stays [`Pending`] until somebody does.
//!
//! The Python client has no intent: it writes `active_state.toml`, then `active`. If it dies between the two, the new
//! state names the old pointer as its previous model, and the change is finished here.
//!
//! Never tells the hive.

use serde::Deserialize;

use super::id::ModelId;
use super::state::{ACTIVE, Active, STATE, read_text};
use super::{Registry, RegistryError};

const INTENT: &str = "active.intent";
/// Bytes of `active.intent`: four ids and their names.
const MAX_INTENT_BYTES: usize = 1024;

/// A change that the registry has made and that the hive may not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What was.
    pub from: Active,
    /// What is.
    pub to: Active,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    from_current: String,
    from_previous: String,
    to_current: String,
    to_previous: String,
}

impl Pending {
    fn render(&self) -> String {
        let id = |id: &Option<ModelId>| id.as_ref().map_or("", ModelId::as_str).to_owned();
        let Pending { from, to } = self;
        format!(
            "from_current = \"{}\"\nfrom_previous = \"{}\"\nto_current = \"{}\"\nto_previous = \"{}\"\n",
            id(&from.current),
            id(&from.previous),
            id(&to.current),
            id(&to.previous)
        )
    }

    fn parse(text: &str) -> Option<Pending> {
        let wire: Wire = toml::from_str(text).ok()?;
        let id = |text: &str| match text {
            "" => Some(None),
            text => ModelId::new(text).ok().map(Some),
        };
        Some(Pending {
            from: Active {
                current: id(&wire.from_current)?,
                previous: id(&wire.from_previous)?,
            },
            to: Active {
                current: id(&wire.to_current)?,
                previous: id(&wire.to_previous)?,
            },
        })
    }
}

impl Registry<'_> {
    /// Makes `to` active: steps 1 to 4.
    pub fn commit(&self, to: Active) -> Result<Pending, RegistryError> {
        let pending = Pending {
            from: self.active()?,
            to,
        };
        self.place(INTENT, &pending.render())?;
        self.make_active(&pending.to)?;
        Ok(pending)
    }

    /// The hive knows: the change is over.
    pub fn settle(&self) -> Result<(), RegistryError> {
        Ok(self.disk.remove_file(&self.root.join(INTENT))?)
    }

    /// The hive will not have it: everything as it was.
    pub fn revert(&self, pending: &Pending) -> Result<(), RegistryError> {
        self.make_active(&pending.from)?;
        self.settle()
    }

    /// The change that the hive may not know of.
    pub fn pending(&self) -> Result<Option<Pending>, RegistryError> {
        self.intent()
    }

    /// Steps 2 to 4.
    fn make_active(&self, to: &Active) -> Result<(), RegistryError> {
        self.disk.remove_file(&self.root.join(STATE))?;
        match &to.current {
            Some(model) => {
                self.place(ACTIVE, &format!("{model}\n"))?;
                self.place(STATE, &to.render())
            }
            // Nothing is active: there is no state that could say so to Python's client.
            None => Ok(self.disk.remove_file(&self.root.join(ACTIVE))?),
        }
    }

    /// Puts a file into the registry's root, whole.
    fn place(&self, name: &str, text: &str) -> Result<(), RegistryError> {
        let staging = self.staging();
        self.disk.make_dir(&staging)?;
        self.disk
            .replace(&staging.join(name), &self.root.join(name), text.as_bytes())?;
        Ok(())
    }

    fn intent(&self) -> Result<Option<Pending>, RegistryError> {
        let path = self.root.join(INTENT);
        let Some(text) = read_text(&path, MAX_INTENT_BYTES)? else {
            return Ok(None);
        };
        Pending::parse(&text)
            .map(Some)
            .ok_or_else(|| RegistryError::State {
                path,
                why: "no intent of this version of coh; finish with the coh that wrote it, or remove it"
                    .to_owned(),
            })
    }

    /// Finishes or undoes what somebody who died left behind.
    pub(super) fn repair_activation(&mut self) -> Result<(), RegistryError> {
        if let Some(pending) = self.intent()? {
            self.repair_own(&pending)?;
        }
        self.repair_pythons()
    }

    fn repair_own(&mut self, Pending { from, to }: &Pending) -> Result<(), RegistryError> {
        let (pointer, state) = (self.pointer()?, self.state_file()?);
        let is = |one: &Active| state.as_ref().is_none_or(|state| state == one);
        if pointer == to.current && is(to) {
            if state.is_none() {
                self.make_active(to)?;
                let model = to.current.as_ref().map_or("none", ModelId::as_str);
                self.repairs.push(format!("finished making {model} active"));
            }
        } else if pointer == from.current && is(from) {
            if state.is_none() {
                self.make_active(from)?;
            }
            self.settle()?;
            let model = to.current.as_ref().map_or("none", ModelId::as_str);
            self.repairs
                .push(format!("undid making {model} active, which had not happened yet"));
        } else {
            // Somebody else has made another change since.
            self.settle()?;
            self.repairs
                .push("dropped an activation that another one has overtaken".to_owned());
        }
        Ok(())
    }

    fn repair_pythons(&mut self) -> Result<(), RegistryError> {
        let Some(state) = self.state_file()? else {
            return Ok(());
        };
        let pointer = self.pointer()?;
        if state.current == pointer {
            return Ok(());
        }
        let name = |id: &Option<ModelId>| id.as_ref().map_or("", ModelId::as_str).to_owned();
        if state.previous == pointer && state.current.as_ref().is_some_and(|model| self.has(model)) {
            self.place(ACTIVE, &format!("{}\n", name(&state.current)))?;
            self.repairs.push(format!(
                "finished making {} active, as active_state.toml says",
                name(&state.current)
            ));
            return Ok(());
        }
        Err(RegistryError::Diverged {
            active: name(&pointer),
            state: name(&state.current),
        })
    }
}
