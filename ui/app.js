// Puts the page together. The contract that views rely on is in ui/README.md.
import { api } from "./api.js";
import { Fields } from "./fields.js";
import { useCurrency } from "./format.js";
import { askForKey, currentKey } from "./keys.js";
import { route } from "./router.js";
import { showStatus, Status } from "./status.js";

const DEFAULTS = { currency: "EUR", mlflow_page: "", model_name: "" };

async function readSettings() {
  try {
    const answer = await fetch("ui/settings.json");
    return answer.ok ? { ...DEFAULTS, ...(await answer.json()) } : DEFAULTS;
  } catch {
    return DEFAULTS;
  }
}

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

async function start() {
  const status = new Status();
  showStatus(document.getElementById("status"), status, announce);
  status.look();
  document.getElementById("key").addEventListener("click", () => {
    askForKey(currentKey() ? "A key is in use. A new one replaces it." : "Where the gateway asks for a key.");
  });
  const settings = await readSettings();
  useCurrency(settings.currency);
  const context = Object.freeze({ api, settings, status, announce, fields: new Fields({ api, status }) });
  await route(document.getElementById("main"), document.getElementById("views"), context);
}

start();
