//! Directives and their arguments.

use apollo_parser::cst;

use super::Report;
use super::source::{Source, offset};

/// A directive with the arguments that were given.
pub(super) struct Directive<'a> {
    pub(super) name: String,
    pub(super) source: Source<'a>,
    pub(super) offset: usize,
    arguments: Vec<Argument>,
}

/// One argument; every value is read as text (§2, rule 1).
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) offset: usize,
}

impl<'a> Directive<'a> {
    pub(super) fn error(&self, report: &mut Report, message: impl Into<String>) {
        report.error(self.source, self.offset, message);
    }

    pub(super) fn warn(&self, report: &mut Report, message: impl Into<String>) {
        report.warn(self.source, self.offset, message);
    }

    pub(super) fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    pub(super) fn argument(&self, name: &str) -> Option<&str> {
        self.arguments
            .iter()
            .find(|argument| argument.name == name)
            .map(|argument| argument.value.as_str())
    }
}

/// The directives of a type or field.
pub(super) fn read<'a>(
    source: Source<'a>,
    directives: Option<cst::Directives>,
    report: &mut Report,
) -> Vec<Directive<'a>> {
    directives
        .into_iter()
        .flat_map(|directives| directives.directives())
        .filter_map(|directive| {
            Some(Directive {
                name: directive.name()?.text().to_string(),
                source,
                offset: offset(&directive),
                arguments: arguments(source, &directive, report),
            })
        })
        .collect()
}

fn arguments(source: Source<'_>, directive: &cst::Directive, report: &mut Report) -> Vec<Argument> {
    let mut arguments: Vec<Argument> = Vec::new();
    for argument in directive
        .arguments()
        .into_iter()
        .flat_map(|arguments| arguments.arguments())
    {
        let (Some(name), Some(value)) = (argument.name(), argument.value()) else {
            continue;
        };
        let (name, offset) = (name.text().to_string(), offset(&argument));
        if arguments.iter().any(|known| known.name == name) {
            report.error(source, offset, format!("argument {name} is given twice"));
        }
        match text_of(value) {
            Some(value) => arguments.push(Argument {
                name,
                value,
                offset,
            }),
            None => report.error(
                source,
                offset,
                format!("argument {name} must be a text, number, boolean or name"),
            ),
        }
    }
    arguments
}

/// A scalar as text; a bare name counts as text (§2, rule 2).
fn text_of(value: cst::Value) -> Option<String> {
    use apollo_parser::cst::CstNode as _;
    Some(match value {
        cst::Value::StringValue(text) => String::from(text),
        cst::Value::EnumValue(name) => name.text().to_string(),
        cst::Value::IntValue(number) => number.source_string().trim().to_owned(),
        cst::Value::FloatValue(number) => number.source_string().trim().to_owned(),
        cst::Value::BooleanValue(boolean) => boolean.true_token().is_some().to_string(),
        _ => return None,
    })
}

/// Reads `true` or `false`.
pub(super) fn boolean(argument: &Argument, directive: &Directive<'_>, report: &mut Report) -> bool {
    match argument.value.as_str() {
        "true" => true,
        "false" => false,
        other => {
            report.error(
                directive.source,
                argument.offset,
                format!(
                    "argument {} must be true or false, not {other:?}",
                    argument.name
                ),
            );
            false
        }
    }
}
