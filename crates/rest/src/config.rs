//! Settings of the REST interface.

use std::fmt;
use std::sync::Arc;

use content::ContentTypes;
use content::multipart::FormLimits;
use resource::Catalog;

/// What the body of an error looks like (`rest.errorFormat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ErrorFormat {
    /// Problem details (RFC 9457).
    #[default]
    Problem,
    /// One text, `ErrorName: message`, as earlier servers of this kind sent it.
    Legacy,
}

/// Settings of [`Rest`](crate::Rest).
#[derive(Clone)]
pub struct RestConfig {
    /// The formats of bodies. Default: [`ContentTypes::standard`].
    pub types: Arc<ContentTypes>,
    /// Longest request body in bytes (`http.maxRequestBodySize`). Default: 10,000,000.
    pub max_body_bytes: u64,
    /// Bounds of a `multipart/form-data` body. Default: [`FormLimits::default`].
    pub form_limits: FormLimits,
    /// Body of errors (`rest.errorFormat`). Default: problem details.
    pub error_format: ErrorFormat,
    /// Send `Last-Modified` with records (`rest.lastModified`). Default: no.
    pub last_modified: bool,
    /// Answer 404, not 200 `false`, to the DELETE of an absent record (`rest.strictDelete`). Default: no.
    pub strict_delete: bool,
    /// Answer 201, not 204, to a PUT that created its record (`rest.putCreated`). Default: no.
    pub put_created: bool,
    /// Let `DELETE /T/` without condition empty the collection (`rest.allowDeleteAll`). Default: no.
    pub allow_delete_all: bool,
    /// Show stored HTML, SVG and XML in the browser instead of offering it as a download
    /// (`rest.inlineActiveContent`). Such content runs scripts with the rights of this origin, so the
    /// default is no.
    pub inline_active_content: bool,
    /// Where descriptions of tables get their sizes from. Default: nowhere, so that they have none.
    pub catalog: Option<Arc<dyn Catalog>>,
    /// Put the number of records into descriptions (`rest.includeExpensiveRecordCountEstimates`). Default: no.
    pub include_record_counts: bool,
}

impl Default for RestConfig {
    fn default() -> Self {
        Self {
            types: Arc::new(ContentTypes::standard()),
            max_body_bytes: 10_000_000,
            form_limits: FormLimits::default(),
            error_format: ErrorFormat::default(),
            last_modified: false,
            strict_delete: false,
            put_created: false,
            allow_delete_all: false,
            inline_active_content: false,
            catalog: None,
            include_record_counts: false,
        }
    }
}

impl fmt::Debug for RestConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestConfig")
            .field("types", &self.types)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("form_limits", &self.form_limits)
            .field("error_format", &self.error_format)
            .field("last_modified", &self.last_modified)
            .field("strict_delete", &self.strict_delete)
            .field("put_created", &self.put_created)
            .field("allow_delete_all", &self.allow_delete_all)
            .field("inline_active_content", &self.inline_active_content)
            .field("include_record_counts", &self.include_record_counts)
            .finish_non_exhaustive()
    }
}
