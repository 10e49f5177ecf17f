//! A file and the positions in it.

use apollo_parser::cst::CstNode;

/// One schema file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
}

impl Source<'_> {
    /// Line and column of a byte offset, both from 1. An offset beyond the text is its end.
    pub(super) fn position(&self, offset: usize) -> (u32, u32) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (number(line), number(column))
    }
}

/// Where a node starts.
pub(super) fn offset(node: &impl CstNode) -> usize {
    usize::from(node.syntax().text_range().start())
}
