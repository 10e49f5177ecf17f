//! Why a text is no query.

/// What is wrong in a query, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unable to parse query, {what} at position {position} in '{query}'")]
pub struct QueryError {
    what: String,
    position: usize,
    query: String,
}

impl QueryError {
    pub(super) fn new(what: impl Into<String>, position: usize, query: &str) -> Self {
        Self {
            what: what.into(),
            position,
            query: query.to_owned(),
        }
    }

    /// What is wrong, and where.
    pub(super) fn into_parts(self) -> (String, usize) {
        (self.what, self.position)
    }

    /// The byte of the query, from 0, that does not fit.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl From<QueryError> for resource::Error {
    /// 400.
    fn from(error: QueryError) -> Self {
        Self::bad_request(error.to_string())
    }
}
