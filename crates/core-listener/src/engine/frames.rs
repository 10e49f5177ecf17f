//! Sees the frames of an HTTP/2 connection pass, without their content (RFC 9113, section 4).
//!
//! hyper tells nobody which streams were reset and why, and cannot send GOAWAY with a reason of ours. Both
//! need no more than the frame headers, which are in the clear on this side of TLS.

use std::time::Duration;

use tokio::time::Instant;

/// Length of a frame header.
const HEADER: usize = 9;
/// The part of a payload that we look at: up to the error code of GOAWAY.
const START: usize = 8;
/// The interval over which resets are counted.
const FLOOD_WINDOW: Duration = Duration::from_secs(10);

/// A frame that somebody counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// HEADERS on this stream.
    Headers(u32),
    /// RST_STREAM with this error code.
    Reset(u32),
    /// GOAWAY with this error code.
    GoAway(u32),
    /// PING, or its acknowledgement.
    Ping,
}

/// Follows the frames of one direction.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes of the connection preface that are still to come.
    preface: usize,
    /// Header and start of the payload of the current frame.
    seen: [u8; HEADER + START],
    seen_bytes: usize,
    /// Payload that is still to come, once the header is whole.
    payload: usize,
}

impl Frames {
    /// The frames that follow a preface of this length.
    pub(crate) fn after(preface: usize) -> Self {
        Self {
            preface,
            seen: [0; HEADER + START],
            seen_bytes: 0,
            payload: 0,
        }
    }

    /// Whether everything that has begun has passed.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.preface == 0 && self.seen_bytes == 0
    }

    /// How many of so many bytes belong to the frame that has begun.
    pub(crate) fn rest_of_frame(&self, bytes: &[u8]) -> usize {
        let mut copy = Self {
            seen: self.seen,
            ..*self
        };
        let mut used = 0;
        while used < bytes.len() && !copy.is_between_frames() {
            used += copy.advance(&bytes[used..], &mut |_| {});
        }
        used
    }

    /// Follows these bytes and calls `count` for each frame in them.
    pub(crate) fn observe(&mut self, mut bytes: &[u8], mut count: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let used = self.advance(bytes, &mut count);
            bytes = &bytes[used..];
        }
    }

    fn advance(&mut self, bytes: &[u8], count: &mut impl FnMut(Frame)) -> usize {
        if self.preface > 0 {
            let used = self.preface.min(bytes.len());
            self.preface -= used;
            return used;
        }
        if self.seen_bytes < HEADER {
            let used = self.keep(bytes, HEADER);
            if self.seen_bytes == HEADER {
                let [a, b, c, ..] = self.seen;
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.end_of_frame(count);
            }
            return used;
        }
        let used = self.payload.min(bytes.len());
        self.keep(&bytes[..used], HEADER + START);
        self.payload -= used;
        self.end_of_frame(count);
        used
    }

    /// Remembers bytes up to this total; returns how many.
    fn keep(&mut self, bytes: &[u8], total: usize) -> usize {
        let used = bytes.len().min(total - self.seen_bytes);
        self.seen[self.seen_bytes..][..used].copy_from_slice(&bytes[..used]);
        self.seen_bytes += used;
        used
    }

    fn end_of_frame(&mut self, count: &mut impl FnMut(Frame)) {
        if self.payload > 0 {
            return;
        }
        let number = |at: usize| {
            let bytes: [u8; 4] = std::array::from_fn(|n| self.seen[at + n]);
            u32::from_be_bytes(bytes)
        };
        let frame = match (self.seen[3], self.seen_bytes - HEADER) {
            (1, _) => Some(Frame::Headers(number(5) & 0x7FFF_FFFF)),
            (3, 4..) => Some(Frame::Reset(number(HEADER))),
            (6, _) => Some(Frame::Ping),
            (7, 8..) => Some(Frame::GoAway(number(HEADER + 4))),
            _ => None,
        };
        self.seen_bytes = 0;
        if let Some(frame) = frame {
            count(frame);
        }
    }
}

/// The bytes of GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, sections 6.8 and 7).
pub(crate) fn enhance_your_calm(last_stream: u32) -> [u8; HEADER + 8] {
    let mut frame = [0; HEADER + 8];
    frame[2] = 8;
    frame[3] = 7;
    frame[HEADER..HEADER + 4].copy_from_slice(&last_stream.to_be_bytes());
    frame[HEADER + 7] = 11;
    frame
}

/// Counts streams that the peer resets: each costs us the work of a request and the peer almost nothing
/// (rapid reset, CVE-2023-44487).
#[derive(Debug)]
pub(crate) struct Flood {
    limit: u32,
    /// Begin of the window, and the count since.
    window: Option<(Instant, u32)>,
}

impl Flood {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            window: None,
        }
    }

    /// Counts one more; whether that is too many.
    pub(crate) fn is_exceeded_by_another(&mut self) -> bool {
        let now = Instant::now();
        let (begin, before) = match self.window {
            Some((begin, count)) if now.duration_since(begin) < FLOOD_WINDOW => (begin, count),
            _ => (now, 0),
        };
        let count = before.saturating_add(1);
        self.window = Some((begin, count));
        count > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_counted_in_whatever_pieces_they_come() {
        let mut bytes = b"preface".to_vec();
        bytes.extend(frame(4, 0, &[]));
        bytes.extend(frame(1, 3, &[9; 300]));
        bytes.extend(frame(3, 3, &[0, 0, 0, 8]));
        bytes.extend(frame(6, 0, &[0; 8]));
        bytes.extend(enhance_your_calm(3));
        // A reset that is too short counts for nothing; hyper will refuse it.
        bytes.extend(frame(3, 3, &[0, 0]));
        for piece in [1, 2, 7, 64, bytes.len()] {
            let (mut frames, mut seen) = (Frames::after(7), Vec::new());
            for piece in bytes.chunks(piece) {
                frames.observe(piece, |frame| seen.push(frame));
            }
            let expected = [
                Frame::Headers(3),
                Frame::Reset(8),
                Frame::Ping,
                Frame::GoAway(11),
            ];
            assert_eq!(seen, expected, "pieces of {piece}");
            assert!(frames.is_between_frames());
        }
    }

    #[test]
    fn the_rest_of_a_frame_ends_where_the_next_begins() {
        let (first, second) = (frame(0, 1, b"content"), frame(0, 3, b"more"));
        let both = [&first[..], &second].concat();
        for cut in 1..first.len() {
            let mut frames = Frames::after(0);
            frames.observe(&both[..cut], |_| {});
            assert_eq!(frames.rest_of_frame(&both[cut..]), first.len() - cut);
        }
        assert_eq!(Frames::after(0).rest_of_frame(&both), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn resets_count_for_ten_seconds() {
        let mut flood = Flood::new(2);
        assert!(!flood.is_exceeded_by_another());
        assert!(!flood.is_exceeded_by_another());
        tokio::time::advance(FLOOD_WINDOW).await;
        assert!(!flood.is_exceeded_by_another());
        assert!(!flood.is_exceeded_by_another());
        assert!(flood.is_exceeded_by_another());
    }
}
