/** The pages: where each is, who may see it, where it stands in the navigation. Each is loaded when it is first shown. */

import type { Component } from 'svelte';
import Activity from '@lucide/svelte/icons/activity';
import Bot from '@lucide/svelte/icons/bot';
import BookOpen from '@lucide/svelte/icons/book-open';
import FileChartColumn from '@lucide/svelte/icons/file-chart-column';
import Gavel from '@lucide/svelte/icons/gavel';
import Inbox from '@lucide/svelte/icons/inbox';
import Radar from '@lucide/svelte/icons/radar';
import ScrollText from '@lucide/svelte/icons/scroll-text';
import Settings from '@lucide/svelte/icons/settings';
import Siren from '@lucide/svelte/icons/siren';
import Waypoints from '@lucide/svelte/icons/waypoints';
import type { Route } from './api/roles';

export interface PageRoute {
  path: string; // what begins with a colon becomes a parameter
  load: () => Promise<{ default: Component<any> }>;
  /** The part of the navigation that it belongs to: the path of an entry. */
  of?: string;
}

/** The first that matches is shown, with its parameters as properties. */
export const routes: PageRoute[] = [
  { path: '/', load: () => import('./pages/overview/Overview.svelte') },
  { path: '/agents', load: () => import('./pages/agents/List.svelte') },
  { path: '/agents/:id', load: () => import('./pages/agents/Profile.svelte'), of: '/agents' },
  { path: '/sessions/:id', load: () => import('./pages/agents/Session.svelte'), of: '/agents' },
  { path: '/approvals', load: () => import('./pages/approvals/Inbox.svelte') },
  { path: '/approvals/:id', load: () => import('./pages/approvals/Inbox.svelte'), of: '/approvals' },
  { path: '/findings', load: () => import('./pages/findings/Findings.svelte') },
  { path: '/findings/:id', load: () => import('./pages/findings/Findings.svelte'), of: '/findings' },
  { path: '/incidents', load: () => import('./pages/incidents/Incidents.svelte') },
  { path: '/policies', load: () => import('./pages/policies/Versions.svelte') },
  { path: '/policies/edit', load: () => import('./pages/policies/Edit.svelte'), of: '/policies' },
  { path: '/policies/:version', load: () => import('./pages/policies/Version.svelte'), of: '/policies' },
  { path: '/policies/:from/diff/:version', load: () => import('./pages/policies/Diff.svelte'), of: '/policies' },
  { path: '/catalog', load: () => import('./pages/catalog/Catalog.svelte') },
  { path: '/catalog/edit', load: () => import('./pages/catalog/Edit.svelte'), of: '/catalog' },
  { path: '/audit', load: () => import('./pages/audit/Search.svelte') },
  { path: '/audit/checkpoints', load: () => import('./pages/audit/Checkpoints.svelte'), of: '/audit' },
  { path: '/audit/:seq', load: () => import('./pages/audit/Entry.svelte'), of: '/audit' },
  { path: '/decisions/:id', load: () => import('./pages/decisions/Decision.svelte'), of: '/audit' },
  { path: '/report', load: () => import('./pages/report/Report.svelte') },
  { path: '/points', load: () => import('./pages/points/Points.svelte') },
  { path: '/admin', load: () => import('./pages/admin/Admin.svelte') },
  { path: '/admin/people/:id', load: () => import('./pages/admin/Person.svelte'), of: '/admin' },
];

export interface NavEntry {
  path: string;
  text: string;
  icon: Component<any>;
  /** Shown to those who may call one of these. */
  needs: Route[];
}

/** Places that have no entry in the navigation, for those who know what they are called. */
export const beside: Omit<NavEntry, 'icon'>[] = [{ path: '/audit/checkpoints', text: 'Checkpoints', needs: ['GET /v1/audit/checkpoints'] }];

export const navigation: { title: string; entries: NavEntry[] }[] = [
  {
    title: 'Watch',
    entries: [
      { path: '/', text: 'Overview', icon: Activity, needs: ['GET /v1/agents'] },
      { path: '/agents', text: 'Agents', icon: Bot, needs: ['GET /v1/agents'] },
      { path: '/findings', text: 'Findings', icon: Radar, needs: ['GET /v1/findings'] },
    ],
  },
  {
    title: 'Decide',
    entries: [
      { path: '/approvals', text: 'Approvals', icon: Inbox, needs: ['GET /v1/approvals'] },
      { path: '/incidents', text: 'Incidents', icon: Siren, needs: ['GET /v1/alerts'] },
    ],
  },
  {
    title: 'Rule',
    entries: [
      { path: '/policies', text: 'Policies', icon: Gavel, needs: ['GET /v1/policies'] },
      { path: '/catalog', text: 'Catalog', icon: BookOpen, needs: ['GET /v1/policies'] },
    ],
  },
  {
    title: 'Prove',
    entries: [
      { path: '/audit', text: 'Audit log', icon: ScrollText, needs: ['GET /v1/audit/entries'] },
      { path: '/report', text: 'Report', icon: FileChartColumn, needs: ['GET /v1/agents'] },
    ],
  },
  {
    title: 'Run',
    entries: [
      { path: '/points', text: 'Enforcement', icon: Waypoints, needs: ['GET /v1/enforcement/points'] },
      { path: '/admin', text: 'Administration', icon: Settings, needs: ['GET /v1/callers'] },
    ],
  },
];
