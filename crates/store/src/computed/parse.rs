//! Reading expressions: a subset of those of JavaScript.
//!
//! ```text
//! choice  = or [ "?" choice ":" choice ]
//! or      = and *( ( "||" / "??" ) and )          and = equality *( "&&" equality )
//! equality = relation *( ( "==" / "!=" / "===" / "!==" ) relation )
//! relation = sum *( ( "<" / "<=" / ">" / ">=" ) sum )
//! sum     = product *( ( "+" / "-" ) product )    product = unary *( ( "*" / "/" / "%" ) unary )
//! unary   = ( "!" / "-" / "+" ) unary / postfix
//! postfix = primary *( "." name [ "(" [ choice *( "," choice ) ] ")" ] / "[" choice "]" )
//! primary = number / text / name / "true" / "false" / "null" / "undefined"
//!         / "(" choice ")" / "[" [ choice *( "," choice ) ] "]"
//! ```

use std::fmt;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 4096;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Why an expression can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at position {position} of the expression")]
pub struct ExpressionError {
    /// Byte offset in the expression.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

/// An expression that was read.
///
/// ```
/// use resource::Value;
/// use store::Expression;
/// let total = Expression::parse("qty * price > 100 ? 'large' : 'small'").unwrap();
/// let value = total.evaluate(&|name| Some(Value::Int(if name == "qty" { 30 } else { 4 })));
/// assert_eq!(value, Some(Value::from("large")));
/// assert!(Expression::parse("qty.toFixed(2)").is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(pub(super) Node);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Attribute(String),
    Not(Box<Node>),
    Negate(Box<Node>),
    ToNumber(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Member(Box<Node>, String),
    Element(Box<Node>, Box<Node>),
    Call(Box<Node>, Method, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    Coalesce,
    And,
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Split,
    ToLowerCase,
    ToUpperCase,
    Trim,
    Includes,
}

impl Method {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "split" => Self::Split,
            "toLowerCase" => Self::ToLowerCase,
            "toUpperCase" => Self::ToUpperCase,
            "trim" => Self::Trim,
            "includes" => Self::Includes,
            _ => return None,
        })
    }

    fn arguments(self) -> usize {
        match self {
            Self::Split | Self::Includes => 1,
            Self::ToLowerCase | Self::ToUpperCase | Self::Trim => 0,
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`ExpressionError`] for what is not in the grammar of this module.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser {
            text,
            at: 0,
            depth: 0,
        };
        if text.len() > MAX_BYTES {
            return Err(parser.error(format!("more than {MAX_BYTES} bytes")));
        }
        let node = parser.choice()?;
        parser.skip_space();
        match parser.rest().chars().next() {
            None => Ok(Self(node)),
            Some(other) => Err(parser.error(format!("unexpected '{other}'"))),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "split",
            Self::ToLowerCase => "toLowerCase",
            Self::ToUpperCase => "toUpperCase",
            Self::Trim => "trim",
            Self::Includes => "includes",
        })
    }
}

/// Operators by level, the loosest first; longer ones before their beginnings.
const LEVELS: [&[(&str, Binary)]; 6] = [
    &[("||", Binary::Or), ("??", Binary::Coalesce)],
    &[("&&", Binary::And)],
    &[
        ("===", Binary::Same),
        ("!==", Binary::NotSame),
        ("==", Binary::Equal),
        ("!=", Binary::NotEqual),
    ],
    &[
        ("<=", Binary::LessOrEqual),
        (">=", Binary::GreaterOrEqual),
        ("<", Binary::Less),
        (">", Binary::Greater),
    ],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[
        ("*", Binary::Multiply),
        ("/", Binary::Divide),
        ("%", Binary::Remainder),
    ],
];

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

type Parsed = Result<Node, ExpressionError>;

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error(&self, reason: impl Into<String>) -> ExpressionError {
        ExpressionError {
            position: self.at,
            reason: reason.into(),
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a token if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn expect(&mut self, token: &str) -> Result<(), ExpressionError> {
        match self.take(token) {
            true => Ok(()),
            false => Err(self.error(format!("expected '{token}'"))),
        }
    }

    fn choice(&mut self) -> Parsed {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let condition = self.level(0)?;
        let node = match self.take("?") {
            false => condition,
            true => {
                let then = self.choice()?;
                self.expect(":")?;
                let otherwise = self.choice()?;
                Node::Choice(Box::new(condition), Box::new(then), Box::new(otherwise))
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn level(&mut self, level: usize) -> Parsed {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.level(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(token, _)| self.take(token)) {
            let right = self.level(level + 1)?;
            left = Node::Binary(*operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let wrap = match () {
            () if self.take("!") => Node::Not,
            () if self.take("-") => Node::Negate,
            () if self.take("+") => Node::ToNumber,
            () => return self.postfix(),
        };
        self.depth += 1;
        let operand = self.unary()?;
        self.depth -= 1;
        Ok(wrap(Box::new(operand)))
    }

    fn postfix(&mut self) -> Parsed {
        let mut node = self.primary()?;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > MAX_DEPTH {
                return Err(self.error(format!("more than {MAX_DEPTH} members in a row")));
            }
            if self.take("[") {
                let index = self.choice()?;
                self.expect("]")?;
                node = Node::Element(Box::new(node), Box::new(index));
            } else if self.take(".") {
                let start = self.at;
                let Some(name) = self.name() else {
                    return Err(self.error("expected a name"));
                };
                node = match self.take("(") {
                    true => self.call(node, name, start)?,
                    false => Node::Member(Box::new(node), name.to_owned()),
                };
            } else {
                return Ok(node);
            }
        }
    }

    fn call(&mut self, on: Node, name: &str, start: usize) -> Parsed {
        let refused = |reason: String| ExpressionError {
            position: start,
            reason,
        };
        let Some(method) = Method::from_name(name) else {
            return Err(refused(format!(
                "the method {name} is unknown; split, toLowerCase, toUpperCase, trim and includes are known"
            )));
        };
        let arguments = self.list(")")?;
        match arguments.len() == method.arguments() {
            true => Ok(Node::Call(Box::new(on), method, arguments)),
            false => Err(refused(format!(
                "{method} takes {} arguments",
                method.arguments()
            ))),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, ExpressionError> {
        let mut items = Vec::new();
        if self.take(end) {
            return Ok(items);
        }
        loop {
            items.push(self.choice()?);
            if self.take(end) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Parsed {
        if self.take("(") {
            let node = self.choice()?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.take("[") {
            return self.list("]").map(Node::List);
        }
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.text(quote),
            Some('0'..='9') => self.number(),
            Some('/') => Err(self.error("regular expressions are not supported")),
            Some('`') => Err(self.error("template texts are not supported")),
            Some(other) => match self.name() {
                Some("true") => Ok(Node::Bool(true)),
                Some("false") => Ok(Node::Bool(false)),
                Some("null") => Ok(Node::Null),
                Some("undefined") => Ok(Node::Undefined),
                Some(name) if self.take("(") => {
                    Err(self.error(format!("the function {name} is unknown")))
                }
                Some(name) => Ok(Node::Attribute(name.to_owned())),
                None => Err(self.error(format!("unexpected '{other}'"))),
            },
            None => Err(self.error("it ends too early")),
        }
    }

    fn name(&mut self) -> Option<&'t str> {
        self.skip_space();
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(name)
    }

    fn number(&mut self) -> Parsed {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let number = rest[..end].parse();
        let number = number.map_err(|_| self.error("a number that can not be read"))?;
        self.at += end;
        Ok(Node::Number(number))
    }

    fn text(&mut self, quote: char) -> Parsed {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((place, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += place + c.len_utf8();
                    return Ok(Node::Text(text));
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => text.push(c),
                    _ => return Err(self.error("an escape that is unknown in a text")),
                },
                c => text.push(c),
            }
        }
        Err(self.error("a text without end"))
    }
}
