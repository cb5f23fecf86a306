//! The style sheet of the SVG: light unless the viewer asks for dark. The page has its own background, so it stays
//! legible where the viewer does not ask.

/// Colours are plain in each scheme, as not every renderer knows variables; a renderer without media queries stays light.
pub(super) const SHEET: &str = "
text{font:15px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;fill:#1f2328}
.title{font-size:20px;font-weight:600}
.small{font-size:12.5px;fill:#656d76}
.dim{fill:#656d76}
.size{fill:#424a53}
.alarm{fill:#cf222e}
.end{text-anchor:end}
.page{fill:#ffffff}
.box{fill:#f6f8fa;stroke:#d0d7de}
.more{fill:none;stroke-dasharray:4 3}
.lost{fill:#fff5f5;stroke:#cf222e;stroke-dasharray:4 3}
.min{fill:#2da44e}
.track{fill:#e1e5ea}
.bar{fill:#4c7fd0}
.line{fill:none;stroke:#afb8c1;stroke-width:2}
.lane{fill:none;stroke-width:1.5}
.k0{stroke:#8250df}.k1{stroke:#bc6c00}.k2{stroke:#1b7c83}.k3{stroke:#bf3989}
.a0{fill:#8250df}.a1{fill:#bc6c00}.a2{fill:#1b7c83}.a3{fill:#bf3989}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.small,.dim{fill:#8d96a0}
.size{fill:#c4ccd4}
.alarm{fill:#ff7b72}
.page{fill:#0d1117}
.box{fill:#161b22;stroke:#30363d}
.more{fill:none}
.lost{fill:#2a1618;stroke:#f85149}
.min{fill:#3fb950}
.track{fill:#262c34}
.bar{fill:#5b93e6}
.line{stroke:#4a525c}
.k0{stroke:#a371f7}.k1{stroke:#db8f2f}.k2{stroke:#39a9b1}.k3{stroke:#db61a2}
.a0{fill:#a371f7}.a1{fill:#db8f2f}.a2{fill:#39a9b1}.a3{fill:#db61a2}
}
";
