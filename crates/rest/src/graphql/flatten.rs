//! From a document to the fields of the operation that is carried out: fragments are put in place, variables
//! and directives are applied, fields of the same response key are merged (October 2021, §6.3.2).

use std::collections::HashMap;

use apollo_parser::{Parser, cst};
use resource::{Map, Value};

use super::GraphQlConfig;
use super::error::{Location, Mistake};
use super::request::Asked;
use super::syntax::{Source, start};

/// A field of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Its alias, or its name.
    pub(super) response_key: String,
    pub(super) name: String,
    pub(super) arguments: Map,
    /// What is selected within it; `None` for a field without selection.
    pub(super) fields: Option<Vec<Field>>,
    /// The byte of the document where it begins.
    pub(super) at: usize,
}

/// The fields of the operation that the request names.
///
/// # Errors
///
/// What is wrong with the document, with its place.
pub(super) fn operation(asked: &Asked, config: &GraphQlConfig) -> Result<Vec<Field>, Mistake> {
    let text = asked.document.as_str();
    let tree = Parser::new(text)
        .recursion_limit(config.max_depth)
        .token_limit(config.max_tokens)
        .parse();
    if let Some(error) = tree.errors().next() {
        let location = Location::of(text, error.index());
        return Err(Mistake::new(error.message(), Some(location)));
    }
    let source = Source::new(text);
    let mut operations = Vec::new();
    let mut fragments = HashMap::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => operations.push(operation),
            cst::Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name());
                let name = name.map(|name| name.text().to_string()).unwrap_or_default();
                if fragments.insert(name.clone(), fragment.clone()).is_some() {
                    return Err(
                        source.mistake(format!("fragment '{name}' is defined twice"), &fragment)
                    );
                }
            }
            other => return Err(source.mistake("a query defines no types", &other)),
        }
    }
    let operation = chosen(&source, &operations, asked.operation.as_deref())?;
    let is_query = operation
        .operation_type()
        .is_none_or(|kind| kind.query_token().is_some());
    if !is_query {
        return Err(source.mistake("only queries are supported", operation));
    }
    let variables = source.variables(operation.variable_definitions(), &asked.variables)?;
    let mut flattener = Flattener {
        source,
        variables,
        fragments,
        left: config.max_fields,
        limit: config.max_fields,
        max_depth: config.max_depth,
        within: Vec::new(),
    };
    let mut fields = Vec::new();
    if let Some(selection) = operation.selection_set() {
        flattener.selection(&selection, &mut fields, 0)?;
    }
    Ok(fields)
}

fn chosen<'o>(
    source: &Source<'_>,
    operations: &'o [cst::OperationDefinition],
    name: Option<&str>,
) -> Result<&'o cst::OperationDefinition, Mistake> {
    let name_of =
        |operation: &cst::OperationDefinition| operation.name().map(|name| name.text().to_string());
    match (operations, name) {
        ([], _) => Err(Mistake::new("the document has no operation", None)),
        ([only], None) => Ok(only),
        ([_, second, ..], None) => {
            Err(source.mistake("'operationName' has to say which operation", second))
        }
        (all, Some(name)) => all
            .iter()
            .find(|operation| name_of(operation).as_deref() == Some(name))
            .ok_or_else(|| Mistake::new(format!("there is no operation '{name}'"), None)),
    }
}

struct Flattener<'d> {
    source: Source<'d>,
    variables: Map,
    fragments: HashMap<String, cst::FragmentDefinition>,
    /// Fields and uses of fragments that may still follow.
    left: usize,
    limit: usize,
    max_depth: usize,
    /// The fragments around the selection.
    within: Vec<String>,
}

impl Flattener<'_> {
    fn selection(
        &mut self,
        set: &cst::SelectionSet,
        fields: &mut Vec<Field>,
        depth: usize,
    ) -> Result<(), Mistake> {
        if depth > self.max_depth {
            let message = format!("selections are nested deeper than {}", self.max_depth);
            return Err(self.source.mistake(message, set));
        }
        for selection in set.selections() {
            // What is skipped costs as much to visit.
            self.count(&selection)?;
            match selection {
                cst::Selection::Field(field) => {
                    if self.is_wanted(field.directives())? {
                        let field = self.field(&field, depth)?;
                        self.merge(field, fields)?;
                    }
                }
                cst::Selection::InlineFragment(fragment) => {
                    if self.is_wanted(fragment.directives())?
                        && let Some(set) = fragment.selection_set()
                    {
                        self.selection(&set, fields, depth + 1)?;
                    }
                }
                cst::Selection::FragmentSpread(spread) => {
                    if self.is_wanted(spread.directives())? {
                        self.spread(&spread, fields, depth)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What types fragments are on makes no difference: a selection is on one type, and it has to fit.
    fn spread(
        &mut self,
        spread: &cst::FragmentSpread,
        fields: &mut Vec<Field>,
        depth: usize,
    ) -> Result<(), Mistake> {
        let name = spread.fragment_name().and_then(|name| name.name());
        let name = name.map(|name| name.text().to_string()).unwrap_or_default();
        if self.within.contains(&name) {
            let message = format!("fragment '{name}' contains itself");
            return Err(self.source.mistake(message, spread));
        }
        let Some(fragment) = self.fragments.get(&name).cloned() else {
            let message = format!("fragment '{name}' is not defined");
            return Err(self.source.mistake(message, spread));
        };
        self.within.push(name);
        if let Some(set) = fragment.selection_set() {
            self.selection(&set, fields, depth + 1)?;
        }
        self.within.pop();
        Ok(())
    }

    fn field(&mut self, field: &cst::Field, depth: usize) -> Result<Field, Mistake> {
        let name = field.name().map(|name| name.text().to_string());
        let name = name.ok_or_else(|| self.source.mistake("expected a name", field))?;
        let alias = field.alias().and_then(|alias| alias.name());
        let fields = match field.selection_set() {
            None => None,
            Some(set) => {
                let mut fields = Vec::new();
                self.selection(&set, &mut fields, depth + 1)?;
                Some(fields)
            }
        };
        Ok(Field {
            response_key: alias.map_or_else(|| name.clone(), |alias| alias.text().to_string()),
            arguments: self.arguments(field.arguments())?,
            at: start(field),
            fields,
            name,
        })
    }

    fn count(&mut self, node: &impl cst::CstNode) -> Result<(), Mistake> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let message = format!("more than {} fields", self.limit);
                Err(self.source.mistake(message, node))
            }
        }
    }

    fn arguments(&self, arguments: Option<cst::Arguments>) -> Result<Map, Mistake> {
        let mut map = Map::new();
        for argument in arguments.iter().flat_map(|list| list.arguments()) {
            let (Some(name), Some(value)) = (argument.name(), argument.value()) else {
                return Err(self
                    .source
                    .mistake("expected a name and a value", &argument));
            };
            let value = self.source.value(&value, &self.variables)?;
            if map.insert(name.text().to_string(), value).is_some() {
                let message = format!("argument '{}' is given twice", name.text());
                return Err(self.source.mistake(message, &argument));
            }
        }
        Ok(map)
    }

    /// `@skip` and `@include`.
    fn is_wanted(&self, directives: Option<cst::Directives>) -> Result<bool, Mistake> {
        let mut is_wanted = true;
        for directive in directives.iter().flat_map(|list| list.directives()) {
            let name = directive.name().map(|name| name.text().to_string());
            let skips = match name.as_deref() {
                Some("skip") => true,
                Some("include") => false,
                name => {
                    let message = format!("directive '@{}' is not known", name.unwrap_or_default());
                    return Err(self.source.mistake(message, &directive));
                }
            };
            let arguments = self.arguments(directive.arguments())?;
            let Some(Value::Bool(holds)) = arguments.get("if") else {
                return Err(self
                    .source
                    .mistake("'if' has to be true or false", &directive));
            };
            is_wanted &= *holds != skips;
        }
        Ok(is_wanted)
    }

    fn merge(&self, field: Field, fields: &mut Vec<Field>) -> Result<(), Mistake> {
        let same = fields
            .iter_mut()
            .find(|known| known.response_key == field.response_key);
        let Some(known) = same else {
            fields.push(field);
            return Ok(());
        };
        if known.name != field.name || known.arguments != field.arguments {
            let message = format!("'{}' stands for two fields", field.response_key);
            return Err(self.source.mistake_at(message, field.at));
        }
        match (&mut known.fields, field.fields) {
            (None, None) => Ok(()),
            (Some(inner), Some(more)) => more
                .into_iter()
                .try_for_each(|field| self.merge(field, inner)),
            _ => {
                let message = format!("'{}' is selected with and without fields", known.name);
                Err(self.source.mistake_at(message, field.at))
            }
        }
    }
}
