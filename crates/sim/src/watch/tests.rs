//! Each checker hears of a story that is right and of the same story gone wrong.

mod outside;
mod owners;
mod positions;
mod recovering;
