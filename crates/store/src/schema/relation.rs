//! `@relationship`: attributes that stand for records of another table (`schema-and-storage.md` §9).

use std::sync::Arc;

use resource::schema::{Element, ObjectType};
use resource::{Attribute, AttributeType, Relation};

use super::Report;
use super::directives::Directive;
use super::table::{DEFAULT_KEY, names_of};
use super::types::{Field, Object, Types};

/// The attribute of a field with `@relationship`.
pub(super) fn attribute(
    object: &Object<'_>,
    field: &Field<'_>,
    directive: &Directive<'_>,
    types: &Types<'_>,
    report: &mut Report,
) -> Attribute {
    let (type_name, is_list) = field.type_name().unwrap_or_default();
    let related = AttributeType::Object(Arc::new(ObjectType {
        name: type_name.clone(),
        ..ObjectType::default()
    }));
    let kind = match is_list {
        true => AttributeType::Array(Box::new(Element {
            kind: related,
            nullable: true,
        })),
        false => related,
    };
    let target = types
        .object(&type_name)
        .and_then(|target| Some((target, target.directive("table")?)));
    let Some((target, table)) = target else {
        let message = format!("the relationship {} needs a type with @table", field.name);
        directive.error(report, message);
        return Attribute::new(field.name.clone(), kind);
    };
    let (database, table) = names_of(target, table);
    let own_database = object
        .directive("table")
        .map(|table| names_of(object, table).0);
    if own_database.is_some_and(|own| own != database) {
        let message = format!(
            "the relationship {} leads to the database {database}; both tables must be in one",
            field.name
        );
        directive.error(report, message);
    }
    let relation = Relation {
        table,
        from: directive.argument("from").map(str::to_owned),
        to: directive.argument("to").map(str::to_owned),
    };
    check(object, target, field, is_list, &relation, directive, report);
    for other in &field.directives {
        if !matches!(
            other.name.as_str(),
            "relationship" | "enumerable" | "hidden"
        ) {
            let name = &other.name;
            other.warn(
                report,
                format!("directive @{name} has no effect on a relationship"),
            );
        }
    }
    Attribute {
        relation: Some(relation),
        enumerable: field.directive("enumerable").is_some(),
        ..Attribute::new(field.name.clone(), kind)
    }
}

fn check(
    object: &Object<'_>,
    target: &Object<'_>,
    field: &Field<'_>,
    is_list: bool,
    relation: &Relation,
    directive: &Directive<'_>,
    report: &mut Report,
) {
    let name = &field.name;
    match (&relation.from, &relation.to) {
        (None, None) => {
            directive.error(
                report,
                format!("the relationship {name} needs from, to or both"),
            );
        }
        (None, Some(_)) if !is_list => directive.error(
            report,
            format!("the relationship {name} leads to many records, its type must be a list"),
        ),
        _ => {}
    }
    if let Some(from) = &relation.from
        && !is_stored(object, from)
    {
        let message = format!(
            "{from} is no attribute of {}, from which {name} could start",
            object.name
        );
        directive.error(report, message);
    }
    if let Some(to) = &relation.to {
        let indexed = target.field(to).is_some_and(|field| {
            field.directive("indexed").is_some() || field.directive("primaryKey").is_some()
        });
        if !is_stored(target, to) {
            let message = format!(
                "{to} is no attribute of {}, to which {name} could lead",
                target.name
            );
            directive.error(report, message);
        } else if !indexed && to != DEFAULT_KEY {
            let message = format!(
                "{to} of {} must be @indexed, so that {name} can be followed",
                target.name
            );
            directive.error(report, message);
        }
    }
}

fn is_stored(object: &Object<'_>, name: &str) -> bool {
    object.field(name).map_or(name == DEFAULT_KEY, |field| {
        field.directive("relationship").is_none() && field.directive("computed").is_none()
    })
}
