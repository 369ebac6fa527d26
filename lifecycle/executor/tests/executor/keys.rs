//! Cache keys (section K).
