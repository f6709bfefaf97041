//! Analytics in the program itself: events of Keyrack in Parquet files, and DataFusion over them.

pub mod storage;
