//! Tables for people: aligned, without lines, the last column as long as it needs to be.

/// A table that is being filled.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row. Text comes from services and nodes, so what could reach the terminal is made visible.
    pub fn add(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The number of rows below the headings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// True when there is no row below the headings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text, each line with its end.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: String =
                cells.map(|(cell, width)| format!("{cell:<width$}  ", width = *width)).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Control characters become visible: names come from other nodes.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "N"]);
        table.add(vec!["v2.posts".into(), "1".into()]);
        table.add(vec!["ä\x1b[2J".into(), "12".into()]);
        assert_eq!(table.render(), "NAME      N\nv2.posts  1\nä\u{fffd}[2J     12\n");
    }
}
