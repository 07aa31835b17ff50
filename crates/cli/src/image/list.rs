//! `picasso image list`.

use http::Method;

use super::nothing;
use crate::CliFailure;
use crate::admin::Admin;
use crate::args::ListArgs;
use crate::output::{complain, print, size};

pub(crate) async fn run(args: &ListArgs) -> Result<(), CliFailure> {
    let answer = Admin::at(args.server.socket_path()?).send(Method::GET, "/images", nothing()).await?;
    if args.json {
        return print(&format!("{:#}\n", answer["images"]));
    }
    let images = answer["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    if images.is_empty() {
        complain(&"no images yet; load one by: picasso image load FILE --name NAME");
        return Ok(());
    }
    let rows: Vec<[String; 4]> = images.iter().map(row).collect();
    print(&table(&["NAME", "SIZE", "LOADED", "DIGEST"], &rows))
}

fn row(image: &serde_json::Value) -> [String; 4] {
    let text = |field: &str| image[field].as_str().map(str::to_owned);
    [
        text("name").unwrap_or_default(),
        image["size_bytes"].as_u64().map(size).unwrap_or_default(),
        text("created_at").unwrap_or_default(),
        text("digest").unwrap_or_default(),
    ]
}

/// Columns as wide as their widest cell; the last one is not padded.
fn table(head: &[&str; 4], rows: &[[String; 4]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let line = |cells: [&str; 4]| {
        format!(
            "{:<a$}  {:>b$}  {:<c$}  {}\n",
            cells[0],
            cells[1],
            cells[2],
            cells[3],
            a = widths[0],
            b = widths[1],
            c = widths[2]
        )
    };
    let mut text = line(*head);
    for row in rows {
        text.push_str(&line([&row[0], &row[1], &row[2], &row[3]]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_in_columns() {
        let images = serde_json::json!([
            {"name": "hello:1", "digest": "sha256:aa", "size_bytes": 2048, "created_at": "2026-11-22T17:00:00"},
            {"name": "team/a-long-name:2", "digest": "sha256:bb", "size_bytes": 5},
        ]);
        let rows: Vec<_> = images.as_array().unwrap().iter().map(row).collect();
        let expected = "\
NAME                   SIZE  LOADED               DIGEST
hello:1             2.0 KiB  2026-11-22T17:00:00  sha256:aa
team/a-long-name:2      5 B                       sha256:bb
";
        assert_eq!(table(&["NAME", "SIZE", "LOADED", "DIGEST"], &rows), expected);
    }
}
