//! Tables as runc prints them (Go's tabwriter with a minimum width of 12 and a padding of 3).

const MINIMUM: usize = 12;
const PADDING: usize = 3;

/// Lays out `rows`, the header first. A column is as wide as its widest cell; the last one is not padded.
pub fn render<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count() + PADDING).max().unwrap_or(0).max(MINIMUM)
    });
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_runc_prints_its_list() {
        let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
        assert_eq!(
            render(std::slice::from_ref(&header)),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
        let row = ["c1", "11165", "running", "/tmp/cli-bundle", "2026-11-22T12:42:05.385615368Z", "root"];
        assert_eq!(
            render(&[header, row.map(str::to_owned)]),
            "ID          PID         STATUS      BUNDLE            CREATED                          OWNER\n\
             c1          11165       running     /tmp/cli-bundle   2026-11-22T12:42:05.385615368Z   root\n"
        );
    }

    #[test]
    fn width_is_counted_in_characters() {
        let rows = [["ééééééééééé", "x"].map(str::to_owned), ["a", "y"].map(str::to_owned)];
        assert_eq!(render(&rows), "ééééééééééé   x\na             y\n");
    }
}
