//! Reading the text files in which the kernel describes itself.

use std::str::FromStr;

/// The kernel counts processor time in these, `USER_HZ`: 100 a second on every architecture we run on.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// The file, or nothing where there is none.
pub(super) fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The first line of a file.
pub(super) fn line(path: &str) -> Option<String> {
    read(path)?
        .lines()
        .next()
        .map(|line| line.trim().to_owned())
}

/// The value in a line `name<separator>value`.
pub(super) fn field<'t>(text: &'t str, name: &str, separator: char) -> Option<&'t str> {
    fields(text, name, separator).next()
}

/// The values in all such lines.
pub(super) fn fields<'t>(
    text: &'t str,
    name: &str,
    separator: char,
) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// A line `name: 123 kB` in bytes.
pub(super) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let number = field(text, name, ':')?.strip_suffix("kB")?;
    number.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The words of a line as numbers; a word that is none counts as zero.
pub(super) fn numbers<T: FromStr + Default>(words: &str) -> Vec<T> {
    let words = words.split_ascii_whitespace();
    words.map(|word| word.parse().unwrap_or_default()).collect()
}

/// Name and processor time in seconds from the `stat` file of a process or thread.
///
/// The name stands in parentheses and may contain anything, so what follows is counted from the last one.
pub(super) fn stat(text: &str) -> Option<(&str, ProcessTimes)> {
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let numbers: Vec<f64> = numbers(after);
    let seconds = |field: usize| numbers.get(field - 3).map(|ticks| ticks / TICKS_PER_SECOND);
    Some((
        name,
        ProcessTimes {
            user_secs: seconds(14)?,
            system_secs: seconds(15)?,
            started_secs: seconds(22)?,
        },
    ))
}

/// Processor times of a process or thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessTimes {
    pub(super) user_secs: f64,
    pub(super) system_secs: f64,
    /// When it started, since the machine did.
    pub(super) started_secs: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "MemTotal:        8041660 kB\nMemFree:  512 kB\nHugePages_Total: 0\n";
        assert_eq!(kilobytes(text, "MemFree"), Some(512 * 1024));
        assert_eq!(kilobytes(text, "Mem"), None);
        assert_eq!(kilobytes(text, "HugePages_Total"), None);
        assert_eq!(field("NAME=\"Debian\"\n", "NAME", '='), Some("\"Debian\""));
    }

    #[test]
    fn the_name_of_a_process_may_contain_anything() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1234 99 1";
        let (name, times) = stat(text).unwrap();
        assert_eq!(name, "a) b (c");
        let expected = ProcessTimes {
            user_secs: 2.5,
            system_secs: 0.5,
            started_secs: 12.34,
        };
        assert_eq!(times, expected);
        assert_eq!(stat(""), None);
        assert_eq!(stat("1 (x) S"), None);
    }
}
