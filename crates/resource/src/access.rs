//! What a role may do, as plain data that every layer checks in the same way (`auth.md` §9).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::{Context, Error};

/// One kind of access to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// GET, HEAD, QUERY, describe, subscribe.
    Read,
    /// Create, and publish without retain.
    Insert,
    /// Change what exists.
    Update,
    /// Remove.
    Delete,
}

impl Action {
    /// The word used in permission objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Flags of one attribute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttributeFlags {
    /// May be read.
    pub read: bool,
    /// May be given in a create.
    pub insert: bool,
    /// May be changed.
    pub update: bool,
}

/// The attributes a role may use, when it may not use all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributeAccess {
    /// Attributes by name; one that is not listed may not be used at all.
    pub attributes: HashMap<String, AttributeFlags>,
}

impl AttributeAccess {
    /// Whether `action` on `attribute` is allowed. The primary key has a flag if any attribute has it (P3).
    pub fn allows(&self, action: Action, attribute: &str, primary_key: &str) -> bool {
        let has = |flags: &AttributeFlags| match action {
            Action::Read => flags.read,
            Action::Insert => flags.insert,
            Action::Update => flags.update,
            Action::Delete => true,
        };
        self.attributes.get(attribute).is_some_and(has)
            || (attribute == primary_key && self.attributes.values().any(has))
    }
}

/// What a role may do with one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableAccess {
    /// May read.
    pub read: bool,
    /// May create.
    pub insert: bool,
    /// May change.
    pub update: bool,
    /// May delete.
    pub delete: bool,
    /// Restriction to some attributes; `None` means all.
    pub attributes: Option<Arc<AttributeAccess>>,
}

impl TableAccess {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        insert: true,
        update: true,
        delete: true,
        attributes: None,
    };

    /// Whether the table flag of `action` is set.
    pub fn allows(&self, action: Action) -> bool {
        match action {
            Action::Read => self.read,
            Action::Insert => self.insert,
            Action::Update => self.update,
            Action::Delete => self.delete,
        }
    }
}

/// Which databases a role may restructure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StructureUser {
    /// None.
    #[default]
    No,
    /// All.
    All,
    /// These.
    Databases(HashSet<String>),
}

/// The permissions of one role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Everything is allowed.
    pub super_user: bool,
    /// Databases whose tables may be made and dropped.
    pub structure_user: StructureUser,
    /// Allow-list of operations; `None` means the role has none.
    pub operations: Option<HashSet<String>>,
    /// Table flags by (database, table); one that is not listed is invisible.
    pub tables: HashMap<String, HashMap<String, TableAccess>>,
}

impl Permissions {
    /// Everything.
    pub fn super_user() -> Self {
        Self {
            super_user: true,
            ..Self::default()
        }
    }

    /// The flags of one table. The `system` database is for super users alone (P20).
    pub fn table(&self, database: &str, table: &str) -> TableAccess {
        if self.super_user {
            return TableAccess::ALL;
        }
        if database == "system" {
            return TableAccess::default();
        }
        self.tables
            .get(database)
            .and_then(|tables| tables.get(table))
            .cloned()
            .unwrap_or_default()
    }

    /// Whether tables of `database` may be made and dropped.
    pub fn may_restructure(&self, database: &str) -> bool {
        self.super_user
            || match &self.structure_user {
                StructureUser::No => false,
                StructureUser::All => true,
                StructureUser::Databases(databases) => databases.contains(database),
            }
    }
}

/// The table flags of the caller, or why there are none for any of `actions`.
///
/// # Errors
///
/// 401 `Must login` without a user, 403 `Unauthorized access to resource` when none of the actions is allowed.
pub fn require_any(
    context: &Context,
    database: &str,
    table: &str,
    actions: &[Action],
) -> Result<TableAccess, Error> {
    let Some(user) = context.caller.user() else {
        return Err(Error::unauthorized("Must login"));
    };
    let access = user.permissions.table(database, table);
    match actions.iter().any(|action| access.allows(*action)) {
        true => Ok(access),
        false => Err(Error::forbidden("Unauthorized access to resource")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_the_key_inherits_any_attribute_flag() {
        let flags = AttributeFlags {
            read: true,
            ..AttributeFlags::default()
        };
        let access = AttributeAccess {
            attributes: HashMap::from([("name".to_owned(), flags)]),
        };
        assert!(access.allows(Action::Read, "id", "id"));
        assert!(!access.allows(Action::Update, "id", "id"));
        assert!(!access.allows(Action::Read, "other", "id"));
    }

    #[test]
    fn p20_system_is_for_super_users() {
        let mut role = Permissions::default();
        role.tables
            .entry("system".into())
            .or_default()
            .insert("hdb_user".into(), TableAccess::ALL);
        assert_eq!(role.table("system", "hdb_user"), TableAccess::default());
        assert_eq!(
            Permissions::super_user().table("system", "hdb_user"),
            TableAccess::ALL
        );
    }
}
