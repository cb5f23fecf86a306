//! A drawn frame as SVG: what the screenshots of the documentation are made of. Text stands at explicit places with
//! explicit lengths, so no font can shift the columns.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// The background to draw for, where a frame leaves it to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Light text on dark.
    Dark,
    /// Dark text on light.
    Light,
}

/// The 16 colours, text and background of a terminal.
struct Palette {
    back: u32,
    text: u32,
    colours: [u32; 16],
}

const DARK: Palette = Palette {
    back: 0x16181d,
    text: 0xd6dae1,
    colours: [
        0x1e2127, 0xe8737c, 0x93c979, 0xe2bd74, 0x6f9fe8, 0xc990dd, 0x68c6cc, 0xc6cbd4, 0x6b7280, 0xf28b93, 0xa9d893,
        0xefcf90, 0x82aaff, 0xd8a6ea, 0x82d6db, 0xf2f4f8,
    ],
};

const LIGHT: Palette = Palette {
    back: 0xfbfbf9,
    text: 0x272a31,
    colours: [
        0x272a31, 0xbd2733, 0x2f7d32, 0x946300, 0x2457c5, 0x8a3ea8, 0x0b767d, 0x5d6470, 0x7c8290, 0xd0343f, 0x3c8f3f,
        0xa87400, 0x3a6be0, 0x9b4fba, 0x128a92, 0x16181d,
    ],
};

/// Width and height of a cell, and the font's size.
const CELL: (f32, f32, f32) = (8.4, 18.0, 14.0);
/// Around the cells.
const EDGE: f32 = 10.0;

/// `buffer` as an SVG document.
pub fn svg(buffer: &Buffer, background: Background) -> String {
    let palette = match background {
        Background::Dark => &DARK,
        Background::Light => &LIGHT,
    };
    let area = buffer.area;
    let (width, height) = (f32::from(area.width) * CELL.0 + 2.0 * EDGE, f32::from(area.height) * CELL.1 + 2.0 * EDGE);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\" font-family=\"'JetBrains Mono','DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"{}\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n",
        CELL.2,
        hex(palette.back)
    );
    for y in area.y..area.bottom() {
        backgrounds(buffer, y, palette, &mut out);
        for run in runs(buffer, y, palette) {
            run.draw(y - area.y, area.x, &mut out);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// What lies behind row `y`. Whole stretches of one colour are one shape, so that no seams show between words.
fn backgrounds(buffer: &Buffer, y: u16, palette: &Palette, out: &mut String) {
    let area = buffer.area;
    let back = |x: u16| colours(&buffer[(x, y)], palette).1;
    let mut x = area.x;
    while x < area.right() {
        let from = x;
        let colour = back(from);
        while x < area.right() && back(x) == colour {
            x += 1;
        }
        if let Some(colour) = colour {
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                EDGE + f32::from(from - area.x) * CELL.0,
                EDGE + f32::from(y - area.y) * CELL.1,
                f32::from(x - from) * CELL.0,
                CELL.1 + 0.2,
                hex(colour)
            );
        }
    }
}

/// Cells in a row that look alike.
struct Run {
    x: u16,
    cells: u16,
    text: String,
    fore: u32,
    back: Option<u32>,
    bold: bool,
    underlined: bool,
    /// Drawn as shapes, so that they meet.
    block: bool,
}

fn runs(buffer: &Buffer, y: u16, palette: &Palette) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut x = buffer.area.x;
    while x < buffer.area.right() {
        let cell = &buffer[(x, y)];
        let cells = (cell.symbol().width().max(1)) as u16;
        let (fore, back) = colours(cell, palette);
        let run = Run {
            x,
            cells,
            text: cell.symbol().to_owned(),
            fore,
            back,
            bold: cell.modifier.contains(Modifier::BOLD),
            underlined: cell.modifier.contains(Modifier::UNDERLINED),
            block: cells == 1 && shape(cell.symbol()).is_some(),
        };
        match runs.last_mut() {
            Some(last) if last.joins(&run) => {
                last.cells += run.cells;
                last.text.push_str(&run.text);
            }
            _ => runs.push(run),
        }
        x += cells;
    }
    runs
}

fn colours(cell: &Cell, palette: &Palette) -> (u32, Option<u32>) {
    let resolve = |colour: Color, default: u32| match colour {
        Color::Reset => default,
        Color::Rgb(r, g, b) => u32::from_be_bytes([0, r, g, b]),
        Color::Indexed(n) => palette.colours[usize::from(n) % 16],
        named => palette.colours[ansi(named)],
    };
    let mut fore = resolve(cell.fg, palette.text);
    let mut back = resolve(cell.bg, palette.back);
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut fore, &mut back);
    }
    if cell.modifier.contains(Modifier::DIM) {
        fore = mix(fore, back);
    }
    (fore, (back != palette.back).then_some(back))
}

fn ansi(colour: Color) -> usize {
    match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        _ => 15,
    }
}

/// Somewhat more than half of `a`, the rest `b`: what terminals make of dim text.
fn mix(a: u32, b: u32) -> u32 {
    let part = |shift: u32| ((a >> shift & 0xff) * 58 + (b >> shift & 0xff) * 42) / 100;
    part(16) << 16 | part(8) << 8 | part(0)
}

fn hex(colour: u32) -> String {
    format!("#{colour:06x}")
}

/// Left, top, right and bottom of a block sign in parts of the cell, and how strong it is.
fn shape(sign: &str) -> Option<(f32, f32, f32, f32, f32)> {
    let eighths = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];
    if let Some(at) = eighths.iter().position(|e| *e == sign) {
        // Bars leave a little air above and below.
        let right = (at + 1) as f32 / 8.0;
        return Some((0.0, 0.14, right, 0.86, 1.0));
    }
    match sign {
        "░" => Some((0.0, 0.14, 1.0, 0.86, 0.22)),
        "─" => Some((0.0, 0.47, 1.0, 0.53, 1.0)),
        "│" => Some((0.44, 0.0, 0.56, 1.0, 1.0)),
        "┃" => Some((0.36, 0.0, 0.64, 1.0, 1.0)),
        "╭" | "╮" | "╰" | "╯" | "├" | "└" => Some((0.0, 0.0, 0.5, 1.0, 1.0)),
        _ => None,
    }
}

/// The path of a corner or joint, from (`x`, `y`): glyphs of fonts do not meet the lines.
fn joint(sign: &str, x: f32, y: f32) -> Option<String> {
    let (w, h) = (CELL.0, CELL.1);
    let (cx, cy, r) = (x + w / 2.0, y + h / 2.0, w / 2.0);
    let (right, bottom) = (x + w, y + h);
    Some(match sign {
        "╭" => format!("M{cx:.1} {bottom:.1}V{:.1}Q{cx:.1} {cy:.1} {right:.1} {cy:.1}", cy + r),
        "╮" => format!("M{cx:.1} {bottom:.1}V{:.1}Q{cx:.1} {cy:.1} {x:.1} {cy:.1}", cy + r),
        "╰" => format!("M{cx:.1} {y:.1}V{:.1}Q{cx:.1} {cy:.1} {right:.1} {cy:.1}", cy - r),
        "╯" => format!("M{cx:.1} {y:.1}V{:.1}Q{cx:.1} {cy:.1} {x:.1} {cy:.1}", cy - r),
        "├" => format!("M{cx:.1} {y:.1}V{bottom:.1}M{cx:.1} {cy:.1}H{right:.1}"),
        "└" => format!("M{cx:.1} {y:.1}V{cy:.1}H{right:.1}"),
        _ => return None,
    })
}

impl Run {
    fn joins(&self, next: &Run) -> bool {
        let same =
            (self.fore, self.back, self.bold, self.underlined) == (next.fore, next.back, next.bold, next.underlined);
        let alike = |text: &str| text.chars().next_back();
        let narrow = usize::from(self.cells) == self.text.chars().count()
            && usize::from(next.cells) == next.text.chars().count();
        // Shapes join only with the same shape; wide and combining signs stand alone; so does every word, as some
        // viewers know no text lengths.
        let blank = |text: &str| text.trim().is_empty();
        same && narrow
            && blank(&self.text) == blank(&next.text)
            && self.block == next.block
            && (!self.block || alike(&self.text) == alike(&next.text) && joint(&next.text, 0.0, 0.0).is_none())
    }

    fn draw(&self, row: u16, left: u16, out: &mut String) {
        let (x, y) = (EDGE + f32::from(self.x - left) * CELL.0, EDGE + f32::from(row) * CELL.1);
        let width = f32::from(self.cells) * CELL.0;
        if self.text.trim().is_empty() {
            return;
        }
        if let Some((l, t, r, b, strength)) =
            self.block.then(|| self.text.chars().next_back()).flatten().and_then(|c| shape(&c.to_string()))
        {
            if let Some(path) = joint(self.text.trim(), x, y) {
                let _ = writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{}\"/>", hex(self.fore));
                return;
            }
            // Signs that reach both sides are one shape over the whole run; others stand in each cell.
            // A full one laps over what follows it a little, or a seam shows where they meet.
            let lap = if b - t > 0.5 && strength == 1.0 { 0.3 } else { 0.0 };
            let (count, wide) = if l == 0.0 && r == 1.0 { (1, width + lap) } else { (self.cells, (r - l) * CELL.0) };
            for n in 0..count {
                let _ = writeln!(
                    out,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"{}/>",
                    x + f32::from(n) * CELL.0 + l * CELL.0,
                    y + t * CELL.1,
                    wide,
                    (b - t) * CELL.1,
                    hex(self.fore),
                    if strength < 1.0 { format!(" fill-opacity=\"{strength}\"") } else { String::new() }
                );
            }
            return;
        }
        // Blanks at the ends would be stretched over.
        let lead = (self.text.len() - self.text.trim_start().len()) as f32;
        let text = self.text.trim();
        let cells = text.width();
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{}{} \
             xml:space=\"preserve\">{}</text>",
            x + lead * CELL.0,
            y + CELL.1 * 0.74,
            cells as f32 * CELL.0,
            hex(self.fore),
            if self.bold { " font-weight=\"bold\"" } else { "" },
            if self.underlined { " text-decoration=\"underline\"" } else { "" },
            escape(text)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn runs_are_placed_by_cells_whatever_the_font() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        buffer.set_string(0, 0, "a<b", Style::new());
        buffer.set_string(4, 0, "日本", Style::new().fg(Color::Green));
        buffer.set_string(9, 0, "██", Style::new());
        let svg = svg(&buffer, Background::Dark);
        assert!(svg.contains(">a&lt;b</text>"));
        assert!(svg.contains("x=\"43.6\"") && svg.contains(">日</text>"), "{svg}");
        assert!(svg.contains("width=\"17.1\""), "two full blocks are one shape");
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn reverse_swaps_and_dim_fades() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        buffer.set_string(0, 0, "x", Style::new().add_modifier(Modifier::REVERSED));
        let (fore, back) = colours(&buffer[(0, 0)], &DARK);
        assert_eq!((fore, back), (DARK.back, Some(DARK.text)));
        assert_eq!(mix(0xffffff, 0x000000), 0x939393);
    }
}
