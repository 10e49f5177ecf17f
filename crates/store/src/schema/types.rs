//! The types of a set of schema files: fields, element types, embedded objects.

use std::collections::HashMap;
use std::sync::Arc;

use apollo_parser::Parser;
use apollo_parser::cst;
use resource::schema::{Element, ObjectType};
use resource::{Attribute, AttributeType};

use super::Report;
use super::directives::{self, Directive};
use super::source::{Source, offset};
use crate::validate;

const NESTED_BLOB: &str = "only attributes of a table themselves can be of type Blob";
/// Deepest chain of embedded types, so that checking a record has a bounded depth.
const MAX_EMBEDDING: usize = 32;

/// All object types of the files, in order.
pub(super) struct Types<'a> {
    pub(super) objects: Vec<Object<'a>>,
    by_name: HashMap<String, usize>,
}

/// One `type` as it is written.
pub(super) struct Object<'a> {
    pub(super) name: String,
    pub(super) source: Source<'a>,
    pub(super) offset: usize,
    pub(super) directives: Vec<Directive<'a>>,
    pub(super) fields: Vec<Field<'a>>,
}

/// One field as it is written.
pub(super) struct Field<'a> {
    pub(super) name: String,
    pub(super) directives: Vec<Directive<'a>>,
    ty: Option<cst::Type>,
}

impl Field<'_> {
    pub(super) fn directive(&self, name: &str) -> Option<&Directive<'_>> {
        self.directives.iter().find(|known| known.name == name)
    }

    /// The name of its type, or of the elements of its list type, and whether it is a list.
    pub(super) fn type_name(&self) -> Option<(String, bool)> {
        let (mut ty, mut is_list) = (self.ty.clone()?, false);
        loop {
            ty = match ty {
                cst::Type::NamedType(named) => {
                    return Some((named.name()?.text().to_string(), is_list));
                }
                cst::Type::ListType(list) => {
                    is_list = true;
                    list.ty()?
                }
                cst::Type::NonNullType(inner) => match (inner.named_type(), inner.list_type()) {
                    (Some(named), _) => cst::Type::NamedType(named),
                    (None, list) => cst::Type::ListType(list?),
                },
            };
        }
    }
}

impl Object<'_> {
    pub(super) fn field(&self, name: &str) -> Option<&Field<'_>> {
        self.fields.iter().find(|known| known.name == name)
    }

    pub(super) fn directive(&self, name: &str) -> Option<&Directive<'_>> {
        self.directives.iter().find(|known| known.name == name)
    }
}

/// Parses the files. Syntax errors are reported; what could be read around them is still there.
pub(super) fn collect<'a>(sources: &[Source<'a>], report: &mut Report) -> Types<'a> {
    let mut types = Types {
        objects: Vec::new(),
        by_name: HashMap::new(),
    };
    for source in sources {
        let tree = Parser::new(source.text).parse();
        for error in tree.errors() {
            report.error(*source, error.index(), error.message());
        }
        for definition in tree.document().definitions() {
            match definition {
                cst::Definition::ObjectTypeDefinition(object) => {
                    types.add(*source, &object, report);
                }
                other => report.warn(
                    *source,
                    offset(&other),
                    format!("{} has no meaning in a schema of tables", other.kind()),
                ),
            }
        }
    }
    types
}

impl<'a> Types<'a> {
    fn add(&mut self, source: Source<'a>, object: &cst::ObjectTypeDefinition, report: &mut Report) {
        let Some(name) = object.name() else {
            return; // a syntax error, reported as such
        };
        let (name, offset) = (name.text().to_string(), offset(&name));
        if AttributeType::from_name(&name).is_some() {
            return report.error(source, offset, format!("type {name} is built in"));
        }
        if self.by_name.contains_key(&name) {
            return report.error(source, offset, format!("type {name} is declared twice"));
        }
        let directives = directives::read(source, object.directives(), report);
        let fields = fields(source, object, report);
        self.by_name.insert(name.clone(), self.objects.len());
        self.objects.push(Object {
            name,
            source,
            offset,
            directives,
            fields,
        });
    }

    pub(super) fn object(&self, name: &str) -> Option<&Object<'a>> {
        self.by_name.get(name).map(|index| &self.objects[*index])
    }
}

fn fields<'a>(
    source: Source<'a>,
    object: &cst::ObjectTypeDefinition,
    report: &mut Report,
) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = Vec::new();
    for field in object
        .fields_definition()
        .into_iter()
        .flat_map(|fields| fields.field_definitions())
    {
        let Some(name) = field.name() else {
            continue;
        };
        let (name, offset) = (name.text().to_string(), offset(&name));
        if let Err(error) = validate::attribute_name(&name) {
            report.error(source, offset, error.message());
        }
        if fields.iter().any(|known| known.name == name) {
            report.error(source, offset, format!("field {name} is declared twice"));
            continue;
        }
        fields.push(Field {
            name,
            directives: directives::read(source, field.directives(), report),
            ty: field.ty(),
        });
    }
    fields
}

/// Turns written types into attribute types; embedded objects are built once and shared.
pub(super) struct Resolver<'t, 'a> {
    types: &'t Types<'a>,
    built: HashMap<String, Arc<ObjectType>>,
    /// Names of the objects that are being built, outermost first.
    within: Vec<String>,
}

impl<'t, 'a> Resolver<'t, 'a> {
    pub(super) fn new(types: &'t Types<'a>) -> Self {
        Self {
            types,
            built: HashMap::new(),
            within: Vec::new(),
        }
    }

    pub(super) fn types(&self) -> &'t Types<'a> {
        self.types
    }

    /// The attribute that a field declares, without what its directives add.
    pub(super) fn attribute(
        &mut self,
        source: Source<'a>,
        field: &Field<'a>,
        report: &mut Report,
    ) -> Attribute {
        let (kind, nullable) = match &field.ty {
            Some(ty) => self.kind(source, ty, report),
            None => (AttributeType::Any, true), // a syntax error, reported as such
        };
        Attribute {
            nullable,
            ..Attribute::new(field.name.clone(), kind)
        }
    }

    /// The type and whether null is allowed.
    fn kind(
        &mut self,
        source: Source<'a>,
        ty: &cst::Type,
        report: &mut Report,
    ) -> (AttributeType, bool) {
        match ty {
            cst::Type::NamedType(named) => (self.named(source, named, report), true),
            cst::Type::ListType(list) => (self.list(source, list, report), true),
            cst::Type::NonNullType(inner) => {
                let kind = match (inner.named_type(), inner.list_type()) {
                    (Some(named), _) => self.named(source, &named, report),
                    (None, Some(list)) => self.list(source, &list, report),
                    (None, None) => AttributeType::Any,
                };
                (kind, false)
            }
        }
    }

    fn list(
        &mut self,
        source: Source<'a>,
        list: &cst::ListType,
        report: &mut Report,
    ) -> AttributeType {
        let (kind, nullable) = match list.ty() {
            Some(ty) => self.kind(source, &ty, report),
            None => (AttributeType::Any, true),
        };
        if kind == AttributeType::Blob {
            report.error(source, offset(list), NESTED_BLOB);
        }
        AttributeType::Array(Box::new(Element { kind, nullable }))
    }

    fn named(
        &mut self,
        source: Source<'a>,
        named: &cst::NamedType,
        report: &mut Report,
    ) -> AttributeType {
        let name = match named.name() {
            Some(name) => name.text().to_string(),
            None => return AttributeType::Any,
        };
        let at = offset(named);
        match AttributeType::from_name(&name) {
            Some(AttributeType::Blob) if !self.within.is_empty() => {
                report.error(source, at, NESTED_BLOB);
                return AttributeType::Any;
            }
            Some(kind) => return kind,
            None => {}
        }
        let types = self.types;
        match types.object(&name) {
            Some(object) => self.embedded(source, at, object, report),
            None => {
                let (line, column) = source.position(at);
                let file = source.file;
                let message = format!(
                    "The type {name} is unknown at line {line}, column {column}, in {file}"
                );
                report.warn(source, at, message);
                AttributeType::Any
            }
        }
    }

    /// An object type inside another. A type that contains itself has no finite description, so the
    /// property that closes the circle holds any value.
    fn embedded(
        &mut self,
        source: Source<'a>,
        at: usize,
        object: &'t Object<'a>,
        report: &mut Report,
    ) -> AttributeType {
        if let Some(built) = self.built.get(&object.name) {
            return AttributeType::Object(Arc::clone(built));
        }
        if self.within.contains(&object.name) {
            let message = format!("type {} contains itself; here it is any value", object.name);
            report.warn(source, at, message);
            return AttributeType::Any;
        }
        if self.within.len() == MAX_EMBEDDING {
            let message =
                format!("types are embedded in each other deeper than {MAX_EMBEDDING} levels");
            report.error(source, at, message);
            return AttributeType::Any;
        }
        self.within.push(object.name.clone());
        let properties = object
            .fields
            .iter()
            .map(|field| self.attribute(object.source, field, report))
            .collect();
        self.within.pop();
        let built = Arc::new(ObjectType {
            name: object.name.clone(),
            properties,
            sealed: object.directive("sealed").is_some(),
        });
        self.built.insert(object.name.clone(), Arc::clone(&built));
        AttributeType::Object(built)
    }
}
