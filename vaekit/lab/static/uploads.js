// Files that a learner uploads: a server takes no message beyond 10 MiB, and drops the connection over a larger one.

import { modelOf, tell } from "./page.js";

const MOST_SENT = 10e6; // bytes, and some room for what is said of them

// Turns back what is too large before it is sent; the kernel says so.
export async function watchUploads({ model, life }) {
  for (const reference of model.get("uploads") ?? []) {
    const upload = await modelOf(model, reference);
    life.trait(upload, "value", () => {
      const files = upload.get("value"), size = files.reduce((sum, file) => sum + file.size, 0);
      if (size <= MOST_SENT) return;
      upload.set("value", []);
      tell(model, { kind: "too large", name: files.length > 1 ? `${files.length} files` : files[0].name, size });
    });
  }
}
