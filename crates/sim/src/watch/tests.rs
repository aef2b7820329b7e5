//! Each checker gets a correct history, and the same history with a fault.

mod outside;
mod owners;
mod positions;
mod recovering;
