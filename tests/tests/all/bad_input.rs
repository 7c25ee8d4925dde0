//! Bad input of all kinds: rows, guests, project files, components, and a second process. What is wrong is said and
//! counted, and costs nothing else.

mod guests;
mod projects;
mod rows;
