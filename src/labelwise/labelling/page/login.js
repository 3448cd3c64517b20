// The password, where the page is open to other machines.

import * as api from "./api.js";
import { $ } from "./dom.js";

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("enter").disabled = true;
  $("said").textContent = "";
  try {
    await api.login($("password").value);
    location.replace("/");
  } catch (error) {
    $("said").textContent = error.status === 401 ? "That is not the password." : error.message;
    $("password").select();
  } finally {
    $("enter").disabled = false;
  }
});
