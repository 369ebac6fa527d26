//! How an expanded text falls into words (A15).

/// The words of a text under construction.
#[derive(Default)]
pub(super) struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    /// A plain character: white space ends the word.
    pub(super) fn push(&mut self, character: char) {
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    /// An escaped character never ends the word.
    pub(super) fn push_raw(&mut self, character: char) {
        self.word.push(character);
    }

    /// A quoted text never ends the word.
    pub(super) fn push_whole(&mut self, text: &str) {
        self.word.push_str(text);
    }

    /// A variable's value splits like plain text.
    pub(super) fn push_splitting(&mut self, text: &str) {
        text.chars().for_each(|character| self.push(character));
    }

    pub(super) fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}
