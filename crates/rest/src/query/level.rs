//! One level of a query: conditions that are combined by one operator.

use resource::{Comparator, Comparison, Condition, Operator};

/// What is wrong; the parser knows where.
pub(super) type Misfit = &'static str;

const MIXED: Misfit = "Can not mix operators within a condition grouping";

/// Conditions of one level as they are read.
#[derive(Debug, Default)]
pub(super) struct Level {
    members: Vec<Member>,
    /// Between all members.
    operator: Option<Operator>,
    /// Read since the last member or function.
    pending: Option<Operator>,
}

#[derive(Debug)]
enum Member {
    Condition(Condition),
    /// Two comparisons of one attribute that were written as a chain.
    Range(Comparison, Comparison),
}

impl Level {
    /// Takes `&` or `|`.
    pub(super) fn separate(&mut self, operator: Operator) -> Result<(), Misfit> {
        match self.pending.replace(operator) {
            Some(earlier) if earlier != operator => Err(MIXED),
            _ => Ok(()),
        }
    }

    /// Takes a condition.
    pub(super) fn push(&mut self, condition: Condition) -> Result<(), Misfit> {
        // B1: what stands before the first member combines nothing.
        if !self.members.is_empty()
            && let Some(pending) = self.pending
        {
            match self.operator {
                Some(operator) if operator != pending => return Err(MIXED),
                _ => self.operator = Some(pending),
            }
        }
        self.pending = None;
        self.members.push(Member::Condition(condition));
        Ok(())
    }

    /// Takes a function, which is no condition and combines with nothing.
    pub(super) fn skip(&mut self) {
        self.pending = None;
    }

    /// Whether a comparison with `comparator` can make a range of the last member.
    pub(super) fn can_chain(&self, comparator: Comparator) -> bool {
        self.pending == Some(Operator::And)
            && matches!(
                self.members.last(),
                Some(Member::Condition(Condition::Compare(first))) if is_opposite(first.comparator, comparator)
            )
    }

    /// The attribute that a chained comparison is about.
    ///
    /// # Errors
    ///
    /// Unless the last member is one comparison, after `&`, that the chained one bounds from the other side.
    pub(super) fn chained_attribute(&self, comparator: Comparator) -> Result<Vec<String>, Misfit> {
        match (self.members.last(), self.pending) {
            (None, _) => Err("expected the name of an attribute"),
            (_, Some(Operator::Or)) => Err("a chained comparison has to follow &"),
            (Some(Member::Range(..)), _) => Err("a range has two bounds only"),
            (Some(Member::Condition(Condition::Compare(first))), _)
                if is_opposite(first.comparator, comparator) =>
            {
                Ok(first.attribute.clone())
            }
            _ => Err("only a lower and an upper bound can be chained"),
        }
    }

    /// Takes the second comparison of a chain.
    pub(super) fn chain(&mut self, second: Comparison) {
        self.pending = None;
        match self.members.pop() {
            Some(Member::Condition(Condition::Compare(first))) => {
                self.members.push(Member::Range(first, second));
            }
            other => {
                self.members.extend(other);
                self.members
                    .push(Member::Condition(Condition::Compare(second)));
            }
        }
    }

    /// The condition of this level; `None` if it has no members.
    pub(super) fn finish(self) -> Option<Condition> {
        let operator = self.operator.unwrap_or(Operator::And);
        let mut conditions = Vec::with_capacity(self.members.len());
        for member in self.members {
            match (member, operator) {
                (Member::Condition(condition), _) => conditions.push(condition),
                // C8: a range among and-conditions is what it would be written out.
                (Member::Range(first, second), Operator::And) => {
                    conditions.extend([first, second].map(Condition::Compare));
                }
                (Member::Range(first, second), Operator::Or) => {
                    let both = [first, second].map(Condition::Compare).into();
                    conditions.push(Condition::Group(Operator::And, both));
                }
            }
        }
        match conditions.len() {
            0 => None,
            1 => conditions.pop(),
            _ => Some(Condition::Group(operator, conditions)),
        }
    }
}

fn is_opposite(first: Comparator, second: Comparator) -> bool {
    use Comparator::*;
    let is_lower = |comparator| matches!(comparator, GreaterThan | GreaterThanEqual);
    let is_upper = |comparator| matches!(comparator, LessThan | LessThanEqual);
    (is_lower(first) && is_upper(second)) || (is_upper(first) && is_lower(second))
}
