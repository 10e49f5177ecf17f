//! How far a subscription has come in the log: one position, and what was finished beyond it (`realtime.md` §4.9).

use std::collections::BTreeSet;

use base::Timestamp;

/// The position of one subscription.
///
/// Everything at or before [`start`](Self::start) is finished. When acknowledgements come out of order, the
/// positions that were finished beyond it are remembered until the gap closes (D3).
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    start: Option<Timestamp>,
    /// The newest position that came, finished or not.
    seen: Option<Timestamp>,
    /// Bits of [`Timestamp`], which sort like it: handed out and not finished.
    outstanding: BTreeSet<u64>,
    /// Finished although something older is not.
    finished: BTreeSet<u64>,
    /// Parts of the current state that are not finished; the log has no place for them.
    state_outstanding: usize,
    /// Whether the current state has been handed out completely.
    caught_up: bool,
}

impl Progress {
    /// One that goes on where an earlier one stopped.
    pub(crate) fn resumed(start: Option<Timestamp>, finished: &[Timestamp]) -> Self {
        Self {
            start,
            seen: start,
            finished: finished.iter().map(|at| at.to_bits()).collect(),
            ..Self::default()
        }
    }

    /// Where to replay from; `None` before the current state has been delivered.
    pub(crate) fn start(&self) -> Option<Timestamp> {
        self.start
    }

    /// What is to be left out of the replay.
    pub(crate) fn finished(&self) -> impl Iterator<Item = Timestamp> {
        self.finished
            .iter()
            .filter_map(|bits| Timestamp::from_bits(*bits))
    }

    /// How many acknowledgements wait for an older one.
    pub(crate) fn gaps(&self) -> usize {
        self.finished.len()
    }

    /// Takes in a publication at that position, `None` for a part of the current state; `false` if it was
    /// finished before.
    pub(crate) fn begin(&mut self, at: Option<Timestamp>) -> bool {
        let Some(at) = at else {
            self.state_outstanding += 1;
            return true;
        };
        self.seen = self.seen.max(Some(at));
        if self.finished.contains(&at.to_bits()) {
            return false;
        }
        self.outstanding.insert(at.to_bits());
        true
    }

    /// Notes that what began there is done with.
    pub(crate) fn finish(&mut self, at: Option<Timestamp>) {
        match at {
            None => self.state_outstanding = self.state_outstanding.saturating_sub(1),
            Some(at) => {
                self.outstanding.remove(&at.to_bits());
                self.finished.insert(at.to_bits());
            }
        }
        self.advance();
    }

    /// Notes that everything up to there has been handed out.
    pub(crate) fn catch_up(&mut self, covered: Timestamp) {
        self.caught_up = true;
        self.seen = self.seen.max(Some(covered));
        self.advance();
    }

    fn advance(&mut self) {
        let is_state_open = self.state_outstanding > 0 || !self.caught_up;
        if self.start.is_none() && is_state_open {
            return;
        }
        let before_oldest = self
            .outstanding
            .first()
            .map(|bits| Timestamp::from_bits(bits.saturating_sub(1)).unwrap_or(Timestamp::ZERO));
        let start = before_oldest.or(self.seen).max(self.start);
        self.start = start;
        if let Some(start) = start {
            self.finished = self.finished.split_off(&(start.to_bits() + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u32) -> Timestamp {
        Timestamp::from_millis(millis.into()).unwrap()
    }

    #[test]
    fn d3_the_position_moves_when_nothing_older_is_outstanding_and_gaps_close() {
        let mut progress = Progress::default();
        progress.catch_up(at(10));
        assert_eq!(progress.start(), Some(at(10)));
        for position in [11, 12, 13] {
            assert!(progress.begin(Some(at(position))));
        }
        progress.finish(Some(at(13)));
        progress.finish(Some(at(12)));
        assert!(progress.start() < Some(at(11)));
        assert_eq!(progress.finished().collect::<Vec<_>>(), [at(12), at(13)]);
        progress.finish(Some(at(11)));
        assert_eq!(progress.start(), Some(at(13)));
        assert_eq!(progress.gaps(), 0);
    }

    #[test]
    fn d2_what_was_finished_is_left_out_of_the_replay() {
        let mut progress = Progress::resumed(Some(at(10)), &[at(12)]);
        assert!(progress.begin(Some(at(11))));
        assert!(!progress.begin(Some(at(12))));
        progress.finish(Some(at(11)));
        assert_eq!((progress.start(), progress.gaps()), (Some(at(12)), 0));
    }

    #[test]
    fn there_is_no_position_before_the_state_is_finished() {
        let mut progress = Progress::default();
        assert!(progress.begin(None));
        progress.catch_up(at(10));
        assert!(progress.begin(Some(at(11))));
        progress.finish(Some(at(11)));
        assert_eq!(progress.start(), None);
        progress.finish(None);
        assert_eq!(progress.start(), Some(at(11)));
    }
}
