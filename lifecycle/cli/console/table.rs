//! Aligned columns.

use std::fmt;

/// How the cells of a column are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows with aligned columns. Printed without trailing blanks; two spaces lie between columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with these columns. Its titles are printed unless all are empty.
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// The same table, moved to the right.
    pub(crate) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// Adds a row with a cell for each column. An end of a line in a name makes no row of its own.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let one_line = |cell: T| cell.into().replace('\n', "\u{240a}");
        self.rows.push(cells.into_iter().map(one_line).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.title().to_owned())
            .collect();
        let titles = titles.iter().any(|title| !title.is_empty()).then_some(&titles);
        let rows = || titles.into_iter().chain(&self.rows);
        let width = |column: usize| {
            rows()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or_default())
            .collect();
        for row in rows() {
            let mut line = " ".repeat(self.indent);
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
                match column {
                    Column::Left(_) => line.extend([cell, blanks.as_str(), "  "]),
                    Column::Right(_) => line.extend([blanks.as_str(), cell, "  "]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let mut table =
            Table::new([Column::Left("NAME"), Column::Right("SIZE"), Column::Left("")]).indented(1);
        table.row(["é", "1 kB", ""]);
        table.row(["longer", "12 kB", "x"]);
        table.row(["a\nb", "", ""]);
        assert_eq!(
            table.to_string(),
            " NAME     SIZE\n é        1 kB\n longer  12 kB  x\n a\u{240a}b\n"
        );
    }

    #[test]
    fn untitled_columns_have_no_heading() {
        let mut table = Table::new([Column::Left(""), Column::Left("")]);
        table.row(["a", "b"]);
        assert_eq!(table.to_string(), "a  b\n");
    }
}
