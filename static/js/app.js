// What every page has: theme, keys, search.

import { startKeyboard } from "./keyboard.js";
import { startSearch } from "./search.js";
import { startTheme } from "./theme.js";

startTheme();
startKeyboard();
startSearch();
