// Imported before the author's module in a component, so that it never sees a clock that goes.

import { standStill } from "./still.js";

standStill();
