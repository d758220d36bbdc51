//! What a reader of a growing file sees.
//!
//! Answers for reads that fit together: the end is told where the file ended at the first read, and the next read sees
//! what came since, so that a file can be read whole and can be followed.
//!
//! Never holds a byte.

/// A window on lines that come and go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// Position of offset 0.
    start: u64,
    /// Where the file ends for this reader, until it was told so.
    limit: Option<u64>,
}

impl Window {
    /// Position and limit for an offset in a file whose oldest byte and end are `span`; `None` is the end.
    pub(super) fn at(&mut self, offset: u64, span: (u64, u64)) -> Option<(u64, u64)> {
        if offset == 0 {
            *self = Window {
                start: span.0,
                limit: None,
            };
        }
        let position = self.start.saturating_add(offset);
        let limit = *self.limit.get_or_insert(span.1);
        if position >= limit {
            self.limit = None;
            return None;
        }
        Some((position, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_once_and_then_the_window_goes_on() {
        let mut window = Window::default();
        assert_eq!(window.at(0, (100, 110)), Some((100, 110)));
        assert_eq!(window.at(10, (100, 150)), None);
        assert_eq!(window.at(10, (100, 150)), Some((110, 150)));
        assert_eq!(window.at(50, (100, 150)), None);
        assert_eq!(window.at(0, (120, 160)), Some((120, 160)));
    }
}
