//! The parts screens are made of. They draw what they are given and know no screen, no data and no channel.

pub mod bar;
pub mod cell;
pub mod form;
pub mod frame;
pub mod header;
pub mod input;
pub mod picker;
pub mod table;
pub mod textbox;
pub mod tree;
